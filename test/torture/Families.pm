# The tables of the crowd and the statements on them. Each round has four families of a table of keys and a table of
# rows that refer to them; each has its part, the rest is left to chance:
#
#   1   two columns and two rules, dropped and declared anew while all go on
#   2   a rule that is not valid, over rows that were broken before; they are repaired, and that is undone
#   3   keys that a native cascade takes away, and tables that are truncated
#   4   one table that references itself
#
# A statement is [kind, text], and the SQLSTATEs that only this one may end with.
package Families;
use strict;
use warnings;
use Exporter 'import';
use Torture;
our @EXPORT = qw(set_up describe broken_references key_statement exchange giving_statement row_statement prepared_statements
    $keys $rows $ledgers $kept $broken_from @families);

our ($keys, $rows, $ledgers) = (7, 8, 3);    # few of them, so that they meet
our $kept = 1000;           # keys from here on are never deleted and never changed
my ($bulk_from, $bulk_to) = (2001, 2300);    # in the first family: keys and rows of bulk statements
our $broken_from = 900;     # elements from here to $kept are broken from the beginning, and never are keys
our @families;

my @on_delete = (['remove element', 'keep'], ['no action'], ['remove element', 'delete row'], ['restrict'], ['null element'],
    ['remove element', 'set null'], ['delete row'], ['set null'], ['remove element', 'delete row'], ['remove element', 'keep']);

# ---------------------------------------------------------------- values: a family's keys may be numbers or text

# number("id"): the key as a number; value("g + 1"): a number as a key; values(1, 2): several
sub number { my ($f, $key) = @_; return $f->{key} eq 'text' ? "$key\::int" : $key }
sub value { my ($f, $number) = @_; return $f->{key} eq 'text' ? "($number)::text" : $number }
sub values { my ($f, @numbers) = @_; return join ', ', map { value($f, $_) } @numbers }
sub element { my ($f, $number) = @_; return "($number)::$f->{element}" }

# ---------------------------------------------------------------- the tables of a round

sub family {
    my ($n, $round) = @_;
    # In turn, so that a few rounds see them all.
    my ($on_delete, $on_empty) = @{ $on_delete[($round * 4 + $n) % @on_delete] };
    my %options = (on_delete => $on_delete, on_update => pick('no action', 'restrict', 'cascade', 'cascade'), rule_name => "rule$n");
    $options{on_empty} = $on_empty if $on_empty;
    $options{deferrable} = 'true' if chance(40);
    $options{initially_deferred} = 'true' if $options{deferrable} && chance(50);
    $options{not_valid} = 'true' if $n == 2;
    my ($element, $key) = @{ $n == 4 ? ['int', 'int'] : pick(['int', 'int'], ['int', 'int'], ['int', 'bigint'], ['bigint', 'int'], ['text', 'text']) };
    my @how = $key eq 'text' ? ('', 'hash') : ('', 'hash', 'range', 'list');
    my %f = (n => $n, k => $n == 4 ? 'r4' : "k$n", r => "r$n", key => $key, element => $element, options => \%options, deferrable => $options{deferrable},
        columns => $n == 1 ? ['ids', 'more'] : ['ids'], truncates => $n == 3, self => $n == 4,
        # A key that is never deleted is appended to ledgers, with others that are, and must not get lost when those are
        # taken out. Where the action takes the whole row or column, a ledger would rightly lose all.
        ledger => $n != 3 && $on_delete !~ /^(delete row|set null)$/,
        key_how => pick('', @how), ref_how => pick('', '', 'hash', 'range', 'list'), gin => chance(60), triggers => $n % 2 == 1 && chance(40));
    $f{key_how} = $f{ref_how} if $f{self};
    return \%f;
}

# Triggers that write. They add to what a statement of ours does and not to what an action does: an action that is
# undone by a BEFORE trigger is undone, with a native foreign key as well.
sub triggers {
    my ($f) = @_;
    my ($n, $r, $k) = @{$f}{qw(n r k)};
    my $any = element($f, "1 + NEW.note % $keys");
    return ("CREATE FUNCTION before$n() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF array_position(NEW.ids, $any) IS NULL THEN NEW.ids := NEW.ids || $any; END IF; RETURN NEW; END \$\$",
        "CREATE TRIGGER before BEFORE UPDATE ON $r FOR EACH ROW WHEN (NEW.note % 4 = 1 AND pg_trigger_depth() = 0) EXECUTE FUNCTION before$n()",
        "CREATE FUNCTION again$n() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN UPDATE $r SET note = note + 1, ids = ids || $any " .
            "WHERE id = NEW.id AND array_position(ids, $any) IS NULL; RETURN NULL; END \$\$",
        'CREATE TRIGGER "' . pick('A_again', 'zz_again') . "\" AFTER INSERT OR UPDATE ON $r FOR EACH ROW WHEN (NEW.note % 4 = 2 AND pg_trigger_depth() = 0) EXECUTE FUNCTION again$n()",
        "CREATE FUNCTION revive$n() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO $k (id) VALUES (OLD.id) ON CONFLICT DO NOTHING; RETURN NULL; END \$\$",
        'CREATE TRIGGER "' . pick('A_revive', 'zz_revive') . "\" AFTER DELETE ON $k FOR EACH ROW WHEN (OLD.note % 3 = 1) EXECUTE FUNCTION revive$n()");
}

sub set_up {
    my ($session, $round) = @_;
    $session->must($_) for 'DROP SCHEMA IF EXISTS crowd CASCADE', 'CREATE SCHEMA crowd', 'CREATE TABLE g3 (id int PRIMARY KEY)', 'INSERT INTO g3 VALUES (1), (2), (3)';
    @families = map { family($_, $round) } 1 .. 4;
    for my $f (@families) {
        my ($n, $k, $r) = @{$f}{qw(n k r)};
        my $grp = $n == 3 ? ', grp int REFERENCES g3 ON DELETE CASCADE' : '';
        my $columns = join '', map { ", $_ $f->{element}\[]" } @{ $f->{columns} };
        $session->must($_) for $f->{self} ? () : create_table($k, "id $f->{key} PRIMARY KEY, note int DEFAULT 0$grp", $f->{key_how}, 'id'),
            create_table($r, "id int PRIMARY KEY, note int DEFAULT 0$columns", $f->{ref_how}, 'id'),
            "INSERT INTO $k (id) SELECT " . value($f, 'g') . " FROM generate_series(1, $keys) g", "INSERT INTO $k (id) VALUES (" . value($f, $kept) . ')',
            "INSERT INTO $r (id, ids) SELECT g, ARRAY[" . join(', ', map { element($f, $_) } "(g - 1) % $keys + 1", "g % $keys + 1", $n == 2 ? "$broken_from + g" : ()) .
                "] FROM generate_series(1, $rows) g ON CONFLICT (id) DO UPDATE SET ids = excluded.ids",
            "INSERT INTO $r (id, ids) SELECT $kept + g, ARRAY[" . element($f, $kept) . "] FROM generate_series(1, $ledgers) g",
            declare($f), $f->{gin} ? "CREATE INDEX ON $r USING gin (ids)" : (), $f->{triggers} ? triggers($f) : ();
        $session->must("UPDATE k3 SET grp = 1 + note % 3") if $grp;
        $session->must("INSERT INTO k1 (id) SELECT " . value($f, 'g') . " FROM generate_series($bulk_from, $bulk_to) g") if $n == 1;
    }
    my @other = ($families[0]{options}{on_delete} eq 'delete row' ? 'set null' : pick('remove element', 'null element', 'no action'));
    $session->must(add_reference('r1', 'more', 'k1', on_delete => $other[0], on_update => $families[0]{options}{on_update}, rule_name => 'more1'));
    return;
}

sub declare { my ($f) = @_; return add_reference($f->{r}, 'ids', $f->{k}, %{ $f->{options} }) }

sub describe {
    my ($f) = @_;
    my %o = %{ $f->{options} };
    return "$f->{r}: " . join ', ', map({ "$_: $o{$_}" } sort keys %o), 'keys: ' . ($f->{key_how} || 'plain'), 'rows: ' . ($f->{ref_how} || 'plain'),
        "types: $f->{element}, $f->{key}", $f->{triggers} ? 'triggers' : ();
}

# Broken references, by plain SQL and nothing of ours. Those that were broken before do not count.
sub broken_references {
    my @selects;
    for my $f (@families) {
        my $old = $f->{n} == 2 ? ' AND ' . number($f, 'e') . " NOT BETWEEN $broken_from AND $kept - 1" : '';
        push @selects, "SELECT '$f->{r}.$_', r.id, r.$_\::text, e::text FROM $f->{r} r, unnest(r.$_) e " .
            "WHERE e IS NOT NULL AND NOT EXISTS (SELECT FROM $f->{k} k WHERE k.id = e)$old" for @{ $f->{columns} };
    }
    return join ' UNION ALL ', @selects;
}

# ---------------------------------------------------------------- statements

# of_a_partition($statements, $f): now and then a statement names a partition and not its table. Its rows may then not leave it.
sub of_a_partition {
    my ($statements, $f) = @_;
    my %leaf = (%$f, truncates => 0);
    for (['k', 'key_how'], ['r', 'ref_how']) { my ($table, $how) = @$_; $leaf{$table} = pick(leaves($f->{$table}, $f->{$how})) }
    $leaf{k} = $leaf{r} if $f->{self};
    return $statements->($f) if !chance(8) || "$leaf{k}$leaf{r}" eq "$f->{k}$f->{r}";
    my @statement = @{ $statements->(\%leaf) };
    return $statement[1] =~ /^EXECUTE|g3/ ? \@statement : ['of a partition', $statement[1], '23514'];
}

sub key_statement { return of_a_partition(\&any_key_statement, @_) }
sub row_statement { return of_a_partition(\&any_row_statement, @_) }

sub any_key_statement {
    my ($f) = @_;
    my $k = $f->{k};
    my ($one, $other) = map { value($f, $_) } numbers(2, 2, $keys);
    my $few = Families::values($f, numbers(1, 4, $keys));
    my $farther = 'id = ' . value($f, number($f, 'id') . ' + ' . 10 * (1 + rnd(80)));
    return pick(
        (map { ['delete key', "DELETE FROM $k WHERE id = $one"] } 1 .. 2), (map { ['delete keys', "DELETE FROM $k WHERE id IN ($few)"] } 1, 2),
        ['delete key, prepared', "EXECUTE delete$f->{n}($one)"],
        (chance(10) ? ['delete all keys', "DELETE FROM $k WHERE " . number($f, 'id') . " < $kept"] : ()),
        ['update key', "UPDATE $k SET id = $other WHERE id = $one"], ['update key', "UPDATE $k SET $farther WHERE id = $one"],
        (map { ['update keys', "UPDATE $k SET $farther WHERE id IN ($few)"] } 1, 2),
        ['merge key', "MERGE INTO $k k USING (VALUES ($one)) s (i) ON k.id = s.i WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id) VALUES (s.i)"],
        ['delete key with CTE', "WITH d AS (DELETE FROM $k WHERE id = $one RETURNING id) UPDATE $f->{r} SET note = note + 1, ids = array_remove(ids, " .
            element($f, "(SELECT id FROM d)") . ") WHERE id = " . (1 + rnd($rows))],
        $f->{n} == 3 ? (map { ['native cascade to keys', 'DELETE FROM g3 WHERE id = ' . (1 + rnd(3))] } 1 .. 3) : ());
}

# A key that is another one for a while, in one transaction; or two that change places.
sub exchange {
    my ($f) = @_;
    my ($one, $other, $spare) = map { value($f, $_) } numbers(2, 2, $keys), 810 + rnd(80);
    return map { "UPDATE $f->{k} SET id = $_->[1] WHERE id = $_->[0]" } chance(50) ? ([$one, $spare], [$spare, $one]) : ([$one, $spare], [$other, $one], [$spare, $other]);
}

# What gives keys, or holds them without changing which there are.
sub giving_statement {
    my ($f) = @_;
    my ($k, $id) = ($f->{k}, number($f, 'id'));
    my ($one, $other) = map { value($f, $_) } numbers(2, 2, $keys);
    my $e = element($f, 1 + rnd($keys));
    my $partitioned = $f->{key_how} ne '';    # ON CONFLICT cannot move a row
    return pick(
        (map { ['insert keys', "INSERT INTO $k (id) SELECT " . value($f, 'g') . " FROM generate_series(1, $keys) g ON CONFLICT DO NOTHING"] } 1 .. 3),
        ['insert keys', "INSERT INTO $k (id) VALUES ($one), ($other) ON CONFLICT DO NOTHING"],
        ['upsert key', "INSERT INTO $k (id) VALUES ($one) ON CONFLICT (id) DO UPDATE SET " . ($partitioned || chance(50) ? 'note = excluded.note + 1' : "id = $other")],
        ['copy key', "COPY $k (id) FROM PROGRAM \$\$printf '" . rnd($keys) . "\\n'\$\$"],
        (map { ['update other columns', "UPDATE $k SET note = note + 1 WHERE id = $one"] } 1, 2),
        ['update key back', "UPDATE $k SET id = " . value($f, "$id % 10") . " WHERE id = (SELECT id FROM $k WHERE $id BETWEEN 10 AND $broken_from - 1 LIMIT 1)"],
        ['delete far keys', "DELETE FROM $k WHERE $id BETWEEN 10 AND $broken_from - 1"],
        # Enough rows of one command for the check to read ahead, and keys of theirs that go meanwhile.
        $f->{n} == 1 ? (['delete many rows', "DELETE FROM r1 WHERE id BETWEEN $bulk_from AND $bulk_to"],
            ['insert many keys', "INSERT INTO k1 (id) SELECT " . value($f, 'g') . " FROM generate_series($bulk_from, $bulk_to) g ON CONFLICT DO NOTHING"],
            ['delete many keys', "DELETE FROM k1 WHERE $id BETWEEN $bulk_from AND $bulk_to AND $id % 60 = " . rnd(60)],
            map { ['insert many rows', "INSERT INTO r1 (id, ids) SELECT g, ARRAY[" . element($f, 'g') . ", $e] FROM generate_series($bulk_from, $bulk_to) g WHERE NOT EXISTS (SELECT FROM r1 WHERE id = g)"] } 1, 2) : (),
        ['lock key', "SELECT FROM $k WHERE id = $one FOR " . pick('UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE')],
        $f->{n} == 3 ? (['other', 'INSERT INTO g3 SELECT generate_series(1, 3) ON CONFLICT DO NOTHING'],
            ['other', "UPDATE k3 SET grp = (SELECT id FROM g3 LIMIT 1) WHERE id IN ($one, $other)"]) : ());
}

sub any_row_statement {
    my ($f) = @_;
    my $r = $f->{r};
    my $ids = pick(@{ $f->{columns} });
    my $row = 1 + rnd($rows);
    # Appends to ledgers too, and removals; what overwrites the array or deletes the row leaves them alone.
    my $any = pick("id = $row", "id = $row", 'id = ' . ($kept + 1 + rnd($ledgers)), 'id % 3 = ' . rnd(3) . " AND id < $kept + 100 AND id <> $kept");
    my ($one, $other, @more) = numbers(2, 4, $keys);
    my $e = element($f, $one);
    return pick(
        (map { ['append', "UPDATE $r SET note = note + 1, $ids = $ids || $e WHERE $any AND array_position($ids, $e) IS NULL"] } 1 .. 3),
        ['append, prepared', "EXECUTE append$f->{n}($e, $row)"],
        ['append with CTE', "WITH k AS (INSERT INTO $f->{k} (id) VALUES (" . value($f, $one) . ") ON CONFLICT DO NOTHING) " .
            "UPDATE $r SET note = note + 1, $ids = $ids || $e WHERE $any AND array_position($ids, $e) IS NULL"],
        ['remove', "UPDATE $r SET note = note + 1, $ids = array_remove($ids, $e) WHERE $any"], ['remove', "UPDATE $r SET note = note + 1, $ids = array_remove($ids, $e)"],
        ['reorder', "UPDATE $r SET note = note + 1, $ids = ARRAY(SELECT e FROM unnest($ids) e ORDER BY e) WHERE $any"],
        ['overwrite', "UPDATE $r SET note = note + 1, $ids = '{$one,$other}' WHERE id = $row"], ['update row', "UPDATE $r SET note = note + 1 WHERE id = $row"],
        ['upsert row', "INSERT INTO $r (id, $ids) VALUES ($row, '{$one,$other}') ON CONFLICT (id) DO UPDATE SET note = $r.note + 1, $ids = excluded.$ids"],
        ['insert row', "INSERT INTO $r (id, $ids) VALUES ($row, '{$one}') ON CONFLICT DO NOTHING"],
        ['insert rows', "INSERT INTO $r (id, $ids) SELECT g, '{$one,$other}' FROM generate_series(1, $rows) g WHERE NOT EXISTS (SELECT FROM $r WHERE id = g)"],
        ['merge row', "MERGE INTO $r r USING (VALUES ($row)) s (i) ON r.id = s.i WHEN MATCHED THEN UPDATE SET note = note + 1, $ids = '{$one}' " .
            "WHEN NOT MATCHED THEN INSERT (id, $ids) VALUES (s.i, '{$one,$other}')"],
        ['copy row', "COPY $r (id, $ids) FROM PROGRAM \$\$printf '$row|{$one,$other}\\n'\$\$ (DELIMITER '|')"],
        ['delete row', "DELETE FROM $r WHERE id = $row"], ['move row', "UPDATE $r SET note = note + 1, id = " . (1 + rnd($rows)) . " WHERE id = $row"],
        # Refused with 0A000 while references remain, as it should be, and with 55006 over events that still wait.
        $f->{truncates} ? ['truncate', 'TRUNCATE ' . (chance(50) ? $r : "$f->{k}, $r"), '0A000', '55006'] : ());
}

sub prepared_statements {
    return map { my $f = $_;
        ("PREPARE delete$f->{n}($f->{key}) AS DELETE FROM $f->{k} WHERE id = \$1",
            "PREPARE append$f->{n}($f->{element}, int) AS UPDATE $f->{r} SET note = note + 1, ids = ids || \$1 WHERE id = \$2 AND array_position(ids, \$1) IS NULL")
    } @families;
}

1;
