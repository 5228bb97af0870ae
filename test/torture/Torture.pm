# What both parts of the torture share: psql children, chance, tables that may be partitioned, and the way to fail.
#
# psql and not a driver: perl-base and psql are on every machine that has a PostgreSQL, DBI is not.
package Torture;
use strict;
use warnings;
use Exporter 'import';
use IPC::Open2;
our @EXPORT = qw(rnd chance pick some numbers create_table leaves add_reference fail);

# ---------------------------------------------------------------- chance; Perl's own generator gives the same everywhere

sub rnd { my ($below) = @_; return int rand $below }
sub chance { my ($percent) = @_; return rand(100) < $percent }
sub pick { return $_[rnd(scalar @_)] }

# some($count, @list): that many of the list, each at most once, in any order
sub some {
    my ($count, @list) = @_;
    my @taken;
    push @taken, splice @list, rnd(scalar @list), 1 while @list && @taken < $count;
    return @taken;
}

# numbers($least, $most, $highest): so many different numbers from 1 on
sub numbers {
    my ($least, $most, $highest) = @_;
    return some($least + rnd($most - $least + 1), 1 .. $highest);
}

# ---------------------------------------------------------------- tables

# create_table($name, $columns, $how, $by): statements that make it, partitioned by the column "by" unless $how is ''.
# The numbers of the torture lie on both sides of every bound, so that an UPDATE often moves a row.
sub create_table {
    my ($name, $columns, $how, $by) = @_;
    my @made = "CREATE TABLE $name ($columns)" . ($how ? " PARTITION BY $how ($by)" : '');
    if ($how eq 'hash') {
        push @made, "CREATE TABLE ${name}_$_ PARTITION OF $name FOR VALUES WITH (MODULUS 3, REMAINDER $_)" for 0 .. 2;
    } elsif ($how eq 'list') {
        push @made, "CREATE TABLE ${name}_0 PARTITION OF $name FOR VALUES IN (1, 2, 3, 4, 5)",
            "CREATE TABLE ${name}_1 PARTITION OF $name FOR VALUES IN (6, 7, 8, 9)",
            "CREATE TABLE ${name}_2 PARTITION OF $name DEFAULT";
    } elsif ($how eq 'range') {    # of two levels
        push @made, "CREATE TABLE ${name}_0 PARTITION OF $name FOR VALUES FROM (MINVALUE) TO (4)",
            "CREATE TABLE ${name}_1 PARTITION OF $name FOR VALUES FROM (4) TO (9) PARTITION BY hash ($by)",
            "CREATE TABLE ${name}_2 PARTITION OF $name DEFAULT";
        push @made, "CREATE TABLE ${name}_1$_ PARTITION OF ${name}_1 FOR VALUES WITH (MODULUS 2, REMAINDER $_)" for 0, 1;
    }
    return @made;
}

# leaves($name, $how): the tables of create_table() that hold rows
sub leaves {
    my ($name, $how) = @_;
    return $how eq '' ? $name : map { "${name}_$_" } 0, $how eq 'range' ? (10, 11) : 1, 2;
}

# add_reference($table, $column, $referenced, %options): the call, with the options that are there
sub add_reference {
    my ($table, $column, $referenced, %options) = @_;
    my $words = join '', map { ", \"$_\" => '$options{$_}'" } sort keys %options;
    return "SELECT integrity.add_reference('$table', '$column', '$referenced', 'id'$words)";
}

# ---------------------------------------------------------------- failing

# fail($reason, @details): says all that is needed to see it again, and ends this process.
our $replay = '';

sub fail {
    my ($reason, @details) = @_;
    print "FAILED: $reason\n", map({ "    $_\n" } map { split /\n/ } @details), "replay: $replay\n";
    exit 1;
}

# ---------------------------------------------------------------- what was done

# Counts the statements of each kind that took effect: those of a transaction when it commits, without what was rolled
# back to a savepoint. A mixture in which one kind always fails proves nothing about it.
package Torture::Tally;
use Time::HiRes ();
my ($long, $many) = (15, 3000);    # seconds and statements of one part, after which each kind must have taken effect

sub new { my ($class) = @_; return bless {open => [], total => {}, tried => {}}, $class }
sub tried { my ($self, $kind) = @_; $self->{tried}{$kind}++; return }
sub ended { my ($self, $state) = @_; $self->{total}{"=$state"}++; return }    # the SQLSTATE of one statement
sub did { my ($self, $kind) = @_; push @{ $self->{open} }, $kind; return }
sub mark { my ($self) = @_; return scalar @{ $self->{open} } }
sub back_to { my ($self, $mark) = @_; splice @{ $self->{open} }, $mark if $mark < @{ $self->{open} }; return }
sub rolled_back { my ($self) = @_; $self->{open} = []; return }

sub committed {
    my ($self) = @_;
    $self->{total}{$_}++ for @{ $self->{open} };
    $self->{open} = [];
    return;
}

# lines(), add_lines(): the same as text, for another process
sub lines {
    my ($self) = @_;
    my %kinds = (%{ $self->{tried} }, %{ $self->{total} });
    return map { "$_\t" . ($self->{total}{$_} // 0) . "\t" . ($self->{tried}{$_} // 0) . "\n" } sort keys %kinds;
}

sub add_lines {
    my ($self, @lines) = @_;
    for (@lines) {
        my ($kind, $total, $tried) = /^(.*)\t(\d+)\t(\d+)$/ or next;
        $self->{total}{$kind} += $total;
        $self->{tried}{$kind} += $tried;
    }
    return;
}

# missing(@kinds): those of which none took effect
sub missing { my ($self, @kinds) = @_; return grep { !$self->{total}{$_} } @kinds }

# goes_on($began, $seconds, @kinds): is there to be another round? A run that is long enough for all kinds takes up to
# three times as long if the machine is too busy for them.
sub goes_on {
    my ($self, $began, $seconds, @kinds) = @_;
    my $spent = Time::HiRes::time() - $began;
    return $spent < $seconds || $seconds >= $long && $spent < 3 * $seconds && $self->missing(@kinds) > 0;
}

# finish($part, $seconds, @kinds): the coverage line; each of these kinds took effect, if there was time for it
sub finish {
    my ($self, $part, $seconds, @kinds) = @_;
    my %all = (%{ $self->{tried} }, map { $_ => 1 } @kinds);
    print "$part: took effect, of so many: ", join(', ', map { "$_ " . ($self->{total}{$_} // 0) . ($self->{tried}{$_} ? "/$self->{tried}{$_}" : '') } grep { !/^=/ } sort keys %all), "\n";
    print "$part: ended with: ", join(', ', map { /^=(.*)/ ? "$1 $self->{total}{$_}" : () } sort keys %{ $self->{total} }), "\n";
    my @never = $self->missing(@kinds);
    return if !@never || $seconds < $long;
    my $tried = 0;
    $tried += $_ for values %{ $self->{tried} };
    Torture::fail("$part: never took effect in $tried statements: " . join ', ', @never) if $tried >= $many;
    print "$part: NOT LOOKED AT, the machine was too busy for more than $tried statements: ", join(', ', @never), "\n";
    return;
}

# ---------------------------------------------------------------- a session

package Torture::Session;
use IPC::Open2;

my $mark = '=torture=';

sub new {
    my ($class, $name, @settings) = @_;
    my $psql = $ENV{PGBIN} ? "$ENV{PGBIN}/psql" : 'psql';
    local $ENV{PGAPPNAME} = $name;
    # Errors come in the same stream as the rows: they are shown if they should not have come.
    my $pid = open2(my $out, my $in, "exec '$psql' -X -q -A -t -v SHOW_CONTEXT=always 2>&1");
    my $self = bless {name => $name, pid => $pid, out => $out, in => $in, log => [], sent => ''}, $class;
    # No JIT: what these statements are estimated to cost would have them compiled, each for a tenth of a second.
    $self->must($_) for 'SET client_min_messages = warning', 'SET jit = off', map { "SET $_" } @settings;
    return $self;
}

# One statement at a time: psql tells the SQLSTATE of the last one only.
sub send {
    my ($self, $statement) = @_;
    $self->{sent} = $statement;
    print { $self->{in} } "$statement;\n\\echo $mark :SQLSTATE\n";
    $self->{in}->flush;
    return;
}

# receive(): the SQLSTATE and the text of what was sent. A server that is gone ends everything.
sub receive {
    my ($self) = @_;
    my ($text, $out) = ('', $self->{out});
    while (defined(my $line = <$out>)) {
        if ($line =~ /^(.*)$mark (\w+)$/) {
            $self->note("$self->{sent};  -- $2");
            return ($2, $text . $1);
        }
        $text .= $line;
    }
    $self->note("$self->{sent};  -- no answer");
    Torture::fail("the connection of $self->{name} was lost", $text, $self->last_statements);
}

sub run {
    my ($self, $statement) = @_;
    $self->send($statement);
    return $self->receive;
}

# must(): a statement of the torture's own, which has no reason to fail
sub must {
    my ($self, $statement) = @_;
    my ($state, $text) = $self->run($statement);
    Torture::fail("$self->{name}: $statement: $state", $text, $self->last_statements) if $state ne '00000';
    chomp $text;
    return $text;
}

sub note {
    my ($self, $line) = @_;
    push @{ $self->{log} }, $line;
    shift @{ $self->{log} } if @{ $self->{log} } > 400;
    return;
}

sub last_statements {
    my ($self, $count) = @_;
    my @log = @{ $self->{log} };
    splice @log, 0, @log - $count if $count && @log > $count;
    return ("last statements of $self->{name}:", @log);
}

sub close {
    my ($self) = @_;
    CORE::close $self->{in};
    CORE::close $self->{out};
    waitpid $self->{pid}, 0;
    return;
}

1;
