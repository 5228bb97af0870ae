# What the twins say: pairs of statements, one for the array and one for its twin, drawn by chance.
#
# A pair is (kind, statement for the array, statement for the twin). What belongs together and has to follow, the rest
# of an exchange of keys for instance, waits in the queue.
package Pairs;
use strict;
use warnings;
use Exporter 'import';
use Torture;
our @EXPORT = qw(%c %t $bulk $broken key element element_array as_array link_rows both statement);

our %c;                             # the configuration of this round
our %t;                             # where the transaction is: in, aborted, savepoints, queue
my ($keys, $rows) = (12, 12);       # few of them, so that they meet
our ($bulk, $broken) = (300, 60);   # rows and keys of a bulk statement; keys from $broken on never exist

# ---------------------------------------------------------------- values as SQL

# word($n): the value itself, as it stands in a literal
sub word { my ($n) = @_; return $c{key} =~ /int/ ? $n : $c{key} eq 'uuid' ? sprintf '00000000-0000-0000-0000-%012d', $n : "k$n" }
sub key { my ($n) = @_; return $c{key} =~ /int/ ? $n : "'" . word($n) . "'" }
sub element { my ($n) = @_; return (defined $n ? key($n) : 'NULL') . "::$c{element}" }
sub element_array { my ($n) = @_; return 'ARRAY[' . element($n) . ']' }
sub any_key { return key(1 + rnd($keys)) }

# as_array(@numbers): a literal; undef stands for a NULL element
sub as_array { return "'{" . join(',', map { defined $_ ? word($_) : 'NULL' } @_) . "}'" }

# some_ids(): what a new array holds, mostly keys that exist
sub some_ids { return (numbers(0, 4, chance(60) ? 8 : $keys), chance(5) ? undef : ()) }

# row(): its number. In a transaction often the one that was written last: a check that waits finds it rewritten then.
sub row {
    $t{row} = 1 + rnd($rows) unless $t{in} && $t{row} && chance(60);
    return $t{row};
}

# some_rows(): a condition on the referencing table
sub some_rows {
    my $row = row();
    return pick("r.id = $row", "r.id = $row", "r.id = $row", "r.id IN ($row, " . (1 + rnd($rows)) . ')', 'r.id % 3 = ' . rnd(3));
}

# ---------------------------------------------------------------- statements: pairs of one for each side

# a kind, and the statement for the one and the other
sub both { my ($kind, $statement) = @_; return ($kind, $statement, $statement) }

# What changes keys is the same text for both.
sub key_statement {
    my $K = $c{K2} && chance(40) ? $c{K2} : $c{K};
    my $one = any_key();
    my $partitioned = $c{kind} eq 'self' ? $c{ref_how} : $c{key_how};    # ON CONFLICT cannot move a row
    my @few = map { key($_) } numbers(1, 4, $keys);
    my $few = join ', ', @few;
    my $conflict = chance(60) ? ' ON CONFLICT DO NOTHING' : '';
    my @statements = (
        ['insert key', "INSERT INTO $K (id) VALUES (" . any_key() . ")$conflict"],
        ['insert keys', "INSERT INTO $K (id) VALUES (" . join('), (', @few) . ")$conflict"],
        (map { ['insert all keys', "INSERT INTO $K (id) VALUES (" . join('), (', map { key($_) } 1 .. 8) . ') ON CONFLICT DO NOTHING'] } 1 .. 3),
        (map { ['delete key', "DELETE FROM $K WHERE id = $one"] } 1, 2), ['delete keys', "DELETE FROM $K WHERE id IN ($few)"],
        (map { ['update key', "UPDATE $K SET id = " . any_key() . " WHERE id = $one"] } 1, 2),
        ['update other columns', "UPDATE $K SET note = note + 1 WHERE id IN ($few)"],
        ['update key to itself', "UPDATE $K SET id = id, note = note + 1 WHERE id = $one"],
        ['upsert key', "INSERT INTO $K (id) VALUES ($one) ON CONFLICT (id) DO UPDATE SET " . ($partitioned ? 'note = 7' : 'id = ' . any_key())],
        ['merge key', "MERGE INTO $K k USING (VALUES (${one}::$c{key})) s (i) ON k.id = s.i WHEN MATCHED THEN " . pick('DELETE', 'UPDATE SET id = ' . any_key()) .
            ' WHEN NOT MATCHED THEN INSERT (id) VALUES (s.i)'],
        ['copy keys', "COPY $K (id) FROM PROGRAM \$\$printf '" . join('', map { word($_) . '\n' } chance(50) ? 1 + rnd($keys) : (), 40 + rnd(15)) . "'\$\$"],
    );
    push @statements, ['delete all keys', "DELETE FROM $K"] if chance(20);
    if ($c{other} eq 'native') {
        my $grp = 1 + rnd(3);
        push @statements, (map { ['native cascade to keys', "DELETE FROM grp WHERE id = $grp"] } 1, 2), ['other', "INSERT INTO grp VALUES ($grp) ON CONFLICT DO NOTHING"],
            ['other', "UPDATE key SET grp = $grp WHERE id IN ($few) AND EXISTS (SELECT FROM grp WHERE id = $grp)"];
    }
    push @statements, map { @$_ } ([['delete many keys', 'DELETE FROM key WHERE id > 1000 AND id % 5 = ' . rnd(5)],
        (map { ['insert many keys', "INSERT INTO key (id) SELECT generate_series(1001, 1000 + $bulk) ON CONFLICT DO NOTHING"] } 1, 2)]) x 6 if $c{other} eq 'bulk';
    # Away and back, and two that change places, in one transaction.
    my ($a, $b) = map { key($_) } numbers(2, 2, $keys);
    my $spare = key(20 + rnd(20));
    my $moves = sub { my ($kind, @pairs) = @_; return [$kind, map { "UPDATE $K SET id = $_->[1] WHERE id = $_->[0]" } @pairs] };
    push @statements, $moves->('key away and back', [$a, $spare], [$spare, $a]), $moves->('keys change places', [$a, $spare], [$b, $a], [$spare, $b]);
    # Many keys change to numbers that none of them has. Not where such rows may reference each other: PostgreSQL checks
    # a row that this transaction has written again, with a reference that did not change and is about to be cascaded.
    my @to = some(scalar @few, map { key($_) } 20 .. 40);
    push @statements, ['update keys', "UPDATE $K k SET id = m.b::$c{key} FROM (VALUES " . join(', ', map { "($few[$_], $to[$_])" } 0 .. $#few) .
        ") m (a, b) WHERE k.id = m.a::$c{key}"] unless $c{kind} eq 'self' && $c{on_update} eq 'cascade';
    my ($kind, @statements_of_it) = @{ pick(@statements) };
    return in_one_transaction(map { [both($kind, $_)] } @statements_of_it);
}

# in_one_transaction(@pairs): the first one; the others wait for their turn. Rows that were broken before may not be touched twice in
# a transaction, so nothing else comes into this one.
sub in_one_transaction {
    my (@pairs) = @_;
    if (@pairs > 1 && !$t{in}) {
        unshift @pairs, [both('other', 'BEGIN')];
        push @pairs, [both('other', 'COMMIT')] if $c{other} eq 'broken';
    }
    my $first = shift @pairs;
    push @{ $t{queue} }, @pairs;
    return @$first;
}

# Statements on both a row's columns and its identity that know nothing of how references are stored.
sub row_statement {
    my $where = some_rows();
    my ($kind, $statement) = @{ pick(
        ['delete rows', "DELETE FROM ref r WHERE $where"],
        (map { ['update rows', "UPDATE ref r SET note = note + 1 WHERE $where"] } 1, 2),
        ['move row', 'UPDATE ref SET id = ' . (1 + rnd($rows + 4)) . ' WHERE id = ' . row()]) };
    return both($kind, $statement);
}

# Only outside of a transaction: which side has events that still wait is not the same, and such a table is not truncated.
sub truncate_statement {
    my @more = $c{kind} eq 'link' ? 'link' : ();
    my @tables = ('ref', chance(50) && $c{kind} ne 'self' ? ($c{K}, $c{K2} || ()) : ());
    return ('truncate', 'TRUNCATE ' . join(', ', @tables), 'TRUNCATE ' . join(', ', @tables, @more));
}

# link_rows($list...): rows for the junction table, of [row, ids...]
sub link_rows {
    my @rows;
    for (@_) {
        my ($row, @ids) = @$_;
        push @rows, map { "($row, " . element($ids[$_]) . ', ' . ($_ + 1) . ')' } 0 .. $#ids;
    }
    push @rows, "(NULL::int, NULL::$c{element}, 0)" unless @rows;
    return join ', ', @rows;
}

# append($where, $id, $with): "with" is what comes or goes in the same statement, or nothing
sub append {
    my ($where, $id, $with) = @_;
    my $cte = $with ? "WITH k AS ($with) " : '';
    return ($with ? 'append with CTE' : 'append', "${cte}UPDATE ref r SET ids = ids || $id WHERE $where AND array_position(ids, $id) IS NULL",
        "${cte}INSERT INTO link SELECT r.id, $id, coalesce((SELECT max(pos) FROM link WHERE ref_id = r.id), 0) + 1 FROM ref r " .
            "WHERE $where AND NOT EXISTS (SELECT FROM link WHERE ref_id = r.id AND key_id = $id)");
}

sub upsert {
    my ($row, @ids) = @_;
    return ('upsert row', "INSERT INTO ref (id, ids) VALUES ($row, " . as_array(@ids) . ') ON CONFLICT (id) DO UPDATE SET ids = excluded.ids',
        "WITH r AS (INSERT INTO ref (id) VALUES ($row) ON CONFLICT DO NOTHING), d AS (DELETE FROM link WHERE ref_id = $row) " .
            'INSERT INTO link SELECT l.* FROM (VALUES ' . link_rows([$row, @ids]) . ') l (ref_id, key_id, pos) WHERE l.ref_id IS NOT NULL');
}

sub link_statement {
    my $where = some_rows();
    my $number = 1 + rnd(chance(70) ? 8 : $keys);
    my $id = element($number);
    my $what = pick(qw(insert insert insert append append append remove reorder set set upsert merge copy),
        $c{other} eq 'bulk' ? ('bulk') x 10 : (), $c{other} eq 'bulk' ? 'no bulk' : ());
    # Now and then the key comes or goes in the very statement that appends or removes it.
    my $with = chance(30) ? pick('INSERT INTO key (id) VALUES (', 'DELETE FROM key WHERE id IN (') . key($number) . ')' : '';

    if ($what eq 'insert') {
        my @new = map { [$_, some_ids()] } $t{row} = pick(1 .. $rows), chance(30) ? $rows + 1 + rnd(3) : ();
        my $conflict = chance(40) ? ' ON CONFLICT DO NOTHING' : '';
        return ('insert rows', 'INSERT INTO ref (id, ids) VALUES ' . join(', ', map { my ($row, @ids) = @$_; "($row, " . as_array(@ids) . ')' } @new) . $conflict,
            'WITH r AS (INSERT INTO ref (id) VALUES ' . join(', ', map { "($_->[0])" } @new) . "$conflict RETURNING id) " .
                'INSERT INTO link SELECT l.* FROM (VALUES ' . link_rows(@new) . ') l (ref_id, key_id, pos) JOIN r ON r.id = l.ref_id');
    }
    if ($what eq 'append') {
        return append($where, $id, $with);
    }
    if ($what eq 'remove') {
        my $cte = $with ? "WITH k AS ($with) " : '';
        return ($with ? 'remove with CTE' : 'remove', "${cte}UPDATE ref r SET ids = array_remove(ids, $id) WHERE $where",
            "${cte}DELETE FROM link l USING ref r WHERE r.id = l.ref_id AND l.key_id = $id AND $where");
    }
    if ($what eq 'reorder') {
        return ('reorder', "UPDATE ref r SET ids = ARRAY(SELECT e FROM unnest(ids) WITH ORDINALITY u (e, o) ORDER BY o DESC) WHERE $where",
            "UPDATE link l SET pos = -pos FROM ref r WHERE r.id = l.ref_id AND $where");
    }
    if ($what eq 'bulk') {
        my ($all, $first) = (chance(50) ? '' : ' AND EXISTS (SELECT FROM key WHERE id = 1000 + g)', 100 + rnd(2) * $bulk);
        my $from = "FROM generate_series(1, $bulk) g WHERE NOT EXISTS (SELECT FROM ref WHERE id = $first + g)$all";
        return ('many rows', "INSERT INTO ref (id, ids) SELECT $first + g, ARRAY[1000 + g] $from",
            "WITH r AS (INSERT INTO ref (id) SELECT $first + g $from RETURNING id) INSERT INTO link SELECT id, 1000 + id - $first, 1 FROM r");
    }
    return both('delete rows', 'DELETE FROM ref WHERE id > 100') if $what eq 'no bulk';
    my ($row, @ids) = (row(), some_ids());
    if ($what eq 'set') {
        return ('overwrite', 'UPDATE ref SET ids = ' . (@ids || chance(50) ? as_array(@ids) : 'NULL') . " WHERE id = $row",
            "WITH d AS (DELETE FROM link WHERE ref_id = $row) INSERT INTO link SELECT l.* FROM (VALUES " . link_rows([$row, @ids]) .
                ') l (ref_id, key_id, pos) JOIN ref r ON r.id = l.ref_id');
    }
    if ($what eq 'upsert') {
        return upsert($row, @ids);
    }
    if ($what eq 'merge') {
        return ('merge row', "MERGE INTO ref r USING (VALUES ($row, $id)) s (row, id) ON r.id = s.row " .
                'WHEN MATCHED AND array_position(r.ids, s.id) IS NULL THEN UPDATE SET ids = r.ids || s.id ' .
                'WHEN NOT MATCHED THEN INSERT (id, ids) VALUES (s.row, ARRAY[s.id])',
            "WITH r AS (INSERT INTO ref (id) VALUES ($row) ON CONFLICT DO NOTHING) INSERT INTO link " .
                "SELECT $row, $id, coalesce((SELECT max(pos) FROM link WHERE ref_id = $row), 0) + 1 " .
                "WHERE NOT EXISTS (SELECT FROM link WHERE ref_id = $row AND key_id = $id)");
    }
    return ('copy rows', "COPY ref (id, ids) FROM PROGRAM \$\$printf '$row|" . (as_array(@ids) =~ tr/'//dr) . "\\n'\$\$ (DELIMITER '|')",
        "WITH r AS (INSERT INTO ref (id) VALUES ($row) RETURNING id) INSERT INTO link " .
            'SELECT l.* FROM (VALUES ' . link_rows([$row, @ids]) . ') l (ref_id, key_id, pos) JOIN r ON r.id = l.ref_id');
}

# Arrays of one element, and the element: the same statement with <n> in both spellings.
sub single_statement {
    my $where = some_rows();
    my $new = sub { chance(15) ? '<>' : '<' . (1 + rnd(chance(70) ? 8 : $keys)) . '>' };
    my @rows = (row(), chance(30) ? $rows + 1 + rnd(3) : ());
    my $row = $rows[0];
    my ($kind, $statement) = @{ pick(
        ['insert rows', 'INSERT INTO ref (id, ids) VALUES ' . join(', ', map { "($_, " . $new->() . ')' } @rows) . (chance(40) ? ' ON CONFLICT DO NOTHING' : '')],
        ['upsert row', "INSERT INTO ref (id, ids) VALUES ($row, " . $new->() . ') ON CONFLICT (id) DO UPDATE SET ids = excluded.ids'],
        ['overwrite', 'UPDATE ref r SET ids = ' . $new->() . " WHERE $where"],
        ['move row', "UPDATE ref SET ids = " . $new->() . ', id = ' . (1 + rnd($rows + 4)) . " WHERE id = $row"],
        ['merge row', "MERGE INTO ref r USING (VALUES ($row)) s (row) ON r.id = s.row WHEN MATCHED THEN " .
            pick('DELETE', 'UPDATE SET ids = ' . $new->()) . ' WHEN NOT MATCHED THEN INSERT (id, ids) VALUES (s.row, ' . $new->() . ')'],
        ['copy rows', "COPY ref (id, ids) FROM PROGRAM \$\$printf '" . join('', map { "$_|" . $new->() =~ tr/'//dr . '\n' } @rows) . "'\$\$ (DELIMITER '|', NULL '\\N')"],
    ) };
    my $in_copy = $statement =~ /^COPY/;
    my $nothing = pick('NULL', "'{}'");
    my $spell = sub {
        my ($text, $is_array) = @_;
        $text =~ s{<(\d*)>}{
            my $value = $1 eq '' ? ($is_array ? $nothing : 'NULL') : $is_array ? as_array($1) : key($1);
            $in_copy ? $value eq 'NULL' ? '\\\\N' : $value =~ tr/'//dr : $value
        }ge;
        return $text;
    };
    return ($kind, $spell->($statement, 1), $spell->($statement, 0));
}

# A key that a check has found goes away before the next check of the same transaction. Few other rows have it, so that
# little else comes between the two.
sub found_and_gone {
    my $number = 20 + rnd(20);
    my ($key, $row) = (key($number), row());
    my @upsert = $c{kind} eq 'link' ? upsert($row, $number)
        : ('upsert row', map { "INSERT INTO ref (id, ids) VALUES ($row, $_) ON CONFLICT (id) DO UPDATE SET ids = excluded.ids" } as_array($number), $key);
    return in_one_transaction($c{deferrable} ? [both('set constraints', 'SET CONSTRAINTS ALL IMMEDIATE')] : (), [both('insert key', "INSERT INTO $c{K} (id) VALUES ($key) ON CONFLICT DO NOTHING")], \@upsert,
        [both(@{ pick(['delete key', "DELETE FROM $c{K} WHERE id = $key"], ['update key', "UPDATE $c{K} SET id = " . key(40 + rnd(15)) . " WHERE id = $key"]) })],
        \@upsert);
}

# A row is written again before the check of its first version comes; sometimes the row or the key comes and goes meanwhile.
sub written_again {
    my @first = $c{kind} eq 'link' ? link_statement() : single_statement();
    return in_one_transaction($c{deferrable} ? [both('set constraints', 'SET CONSTRAINTS ALL DEFERRED')] : (), [@first],
        [both('update rows', 'UPDATE ref r SET note = note + 1 WHERE r.id = ' . ($t{row} || 1))],
        chance(30) ? [key_statement_alone()] : (), [both('other', 'COMMIT')]);
}

# As key_statement(), but nothing that takes several.
sub key_statement_alone {
    my $one = any_key();
    return both(@{ pick(['insert key', "INSERT INTO $c{K} (id) VALUES ($one) ON CONFLICT DO NOTHING"], ['delete key', "DELETE FROM $c{K} WHERE id = $one"]) });
}

sub statement {
    my $dice = rnd(100);
    return truncate_statement() if $dice < 2 && !$t{in};
    if ($dice < 14 && $c{other} ne 'broken') { return chance(60) && $c{kind} ne 'self' ? found_and_gone() : written_again() }
    return key_statement() if $dice < 50;
    return row_statement() if $dice < 58;
    return $c{kind} eq 'link' ? link_statement() : single_statement();
}

1;
