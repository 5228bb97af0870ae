# What goes on beside the workers of the crowd: a reader, cancels, repairs and their undo, and the work of a DBA.
package Beside;
use strict;
use warnings;
use Exporter 'import';
use Time::HiRes 'sleep';
use Torture;
use Families;
our @EXPORT = qw(look cancel mend maintain);

# Each gets a function that says whether to go on, a tally, and the folder of the round.

# A snapshot with one broken reference is the end of the promise.
sub look {
    my ($go_on) = @_;
    my $session = Torture::Session->new('reader', 'search_path = crowd, public');
    my $looks = 0;
    while ($go_on->()) {
        $session->must('BEGIN ISOLATION LEVEL REPEATABLE READ');
        # A deadlock comes of TRUNCATE and of rules that are declared, which lock tables against reading.
        my ($state, $broken) = $session->run(broken_references());
        $session->must('COMMIT');
        next if $state eq '40P01';
        fail('the reader sees broken references', $broken, map { describe($_) } @families) if $state ne '00000' || $broken ne '';
        $looks++;
    }
    $session->close;
    return "$looks looks";
}

sub cancel {
    my ($go_on, $tally, $folder) = @_;
    my $session = Torture::Session->new('canceller');
    my $count = 0;
    while ($go_on->()) {
        sleep 0.005 + rand 0.05;
        # Mostly workers; what takes longer would never get done.
        my @files = glob "$folder/pid-" . (chance(92) ? 'worker*' : '*') or next;
        open my $file, '<', pick(@files) or next;
        my $pid = <$file> // next;
        $count++ if $session->must("SELECT pg_cancel_backend($pid)") eq 't';
    }
    $session->close;
    return "$count cancels";
}

# helper($name, $folder, $tally): a session, and a function that runs a statement in it. It may fail for the reasons that
# any statement has, and for those that are named; what it says is the session's answer.
sub helper {
    my ($name, $folder, $tally) = @_;
    my $session = Torture::Session->new($name, 'search_path = crowd, public');
    open my $file, '>', "$folder/pid-$name" or die $!;
    print $file $session->must('SELECT pg_backend_pid()');
    close $file;
    my $run = sub {
        my ($kind, $statement, @also) = @_;
        $tally->tried($kind) if $kind ne 'other';
        my ($state, $text) = $session->run($statement);
        fail("$name: SQLSTATE $state", $statement, $text, map({ describe($_) } @families), $session->last_statements(20))
            unless grep { $state eq $_ } qw(00000 40001 40P01 57014), @also;
        $tally->did($kind) if $kind ne 'other' && $state eq '00000';
        chomp($session->{answer} = $text);
        return $state eq '00000';
    };
    return ($session, $run);
}

# end_transaction($session, $well): true if it committed. A cancel that comes late may hit a ROLLBACK.
sub end_transaction {
    my ($session, $well) = @_;
    return 1 if $well && ($session->run('COMMIT'))[0] eq '00000';
    my $state;
    do { ($state) = $session->run('ROLLBACK') } while $state eq '57014';
    return 0;
}

# Rows that have been broken since before the rule are repaired, and the repair is undone. A valid rule has nothing to
# repair: neither the report nor a repair may see anything in the midst of all this.
sub mend {
    my ($go_on, $tally, $folder) = @_;
    my ($session, $run) = helper('mender', $folder, $tally);
    my @runs;
    while ($go_on->()) {
        my $what = @runs && chance(30) ? 'undo' : pick(qw(break break repair repair batches report nothing));
        if ($what eq 'break') {
            # As it came in before there was a rule.
            my $broken = Families::element($families[1], $broken_from + rnd(20));
            $session->must($_) for 'BEGIN';
            my $ok = $run->('other', 'SET LOCAL session_replication_role = replica')
                && $run->('break', "UPDATE r2 SET note = note + 1, ids = $broken || ids WHERE id = " . (1 + rnd($rows)) . " AND array_position(ids, $broken) IS NULL");
            end_transaction($session, $ok);
        } elsif ($what eq 'repair') {
            $run->('repair', "SELECT run_id FROM integrity.repair('r2', NULL, '" . pick('remove element', 'null element') . "', dry_run => false) WHERE run_id IS NOT NULL")
                and push @runs, split /\n/, $session->{answer};
        } elsif ($what eq 'batches') {
            $run->('repair in batches', "CALL integrity.repair_in_batches('r2', 'rule2', 'remove element', batch_rows => 2)");
        } elsif ($what eq 'undo') {
            my $id = splice @runs, rnd(scalar @runs), 1;
            $run->('undo', "SELECT * FROM integrity.undo($id, dry_run => false)");
        } elsif ($what eq 'report' || $what eq 'nothing') {
            my $r = pick('r1', 'r3', 'r4');
            ($what eq 'report' ? $run->('report', "SELECT * FROM public.integrity_report('$r') WHERE status NOT IN ('ok', 'unknown')")
                : $run->('repair of nothing', "SELECT * FROM integrity.repair('$r', NULL, 'remove element', dry_run => false) WHERE references_broken > 0"))
                or next;
            fail("$what sees broken references in $r", $session->{answer}, map { describe($_) } @families) if $session->{answer} ne '';
        }
        $tally->committed;
        sleep rand 0.02;
    }
    $session->close;
    return;
}

# Rules come and go, indexes are made anew under their keys, caches are told of it.
sub maintain {
    my ($go_on, $tally, $folder) = @_;
    my ($session, $run) = helper('dba', $folder, $tally);
    my $f = $families[0];
    my $valid = 1;
    while ($go_on->()) {
        my $what = !$valid && chance(50) ? 'validate' : pick(qw(declare declare reindex vacuum index alter));
        my $any = pick(@families);
        if ($what eq 'declare') {
            # In one transaction, so that there is no moment without the rule.
            local $f->{options} = {%{ $f->{options} }, chance(50) ? (not_valid => 'true') : ()};
            my $ok = $run->('other', 'BEGIN') && $run->('drop rule', "SELECT integrity.drop_reference('r1', 'rule1')")
                && $run->('declare', Families::declare($f));
            if (end_transaction($session, $ok)) { $valid = !$f->{options}{not_valid}; $tally->committed } else { $tally->rolled_back }
        } elsif ($what eq 'validate') {
            # It was enforced all the time, so this may not find anything.
            $valid = 1 if $run->('validate', "SELECT integrity.validate_reference('r1', 'rule1')");
        } elsif ($what eq 'reindex') {
            $run->('reindex', "REINDEX TABLE CONCURRENTLY $any->{k}");
        } elsif ($what eq 'vacuum') {
            $run->('vacuum', 'VACUUM ' . pick($any->{r}, $any->{k}));
        } elsif ($what eq 'index') {
            $run->('other', 'DROP INDEX IF EXISTS passing') and $run->('create index', "CREATE INDEX passing ON $any->{r} USING gin (ids)");
        } else {
            $run->('alter', "ALTER TABLE $any->{r} ALTER note SET STATISTICS " . rnd(100));
        }
        $tally->committed;
        sleep 0.05 + rand 0.1;
    }
    $session->close;
    return;
}

1;
