# A file of bench/workloads, read: which rivals there are, and what each of them does.
#
# Such a file is SQL for psql. Comments divide it:
#
#   -- W1: what it is                          the first line
#   -- full: rows=100000                       what :rows stands for below, at the full scale
#   -- tiny: rows=500                          and for the smoke test
#   -- for size: 200k=200000 10M=10000000      all but "prepare" and "always" is done for each of these: :label is 200k, :size 200000
#   -- for size, tiny: 200k=500 10M=1000
#
#   -- ==== prepare                            once, in a database of its own
#   -- ==== prepare each                       once for each value of "for"
#   -- ==== settle                             after the checkpoint that comes before each "measure"
#   -- ==== <rival>: <verb> [<step>]           in every round, in the order in which they stand here
#
#   before       untimed, in a session of its own
#   warm         untimed, in the session that is measured next
#   measure      timed, in a new session if there was no "warm"
#   count <what> untimed, in the measured session: prints one number, which is a figure too
#   pgbench      the script of a pgbench, which is timed; {-c 100 -j 2 -t 500} are its options; a number
#                may be (an expression) of :variables. The first two fifths of the run are not counted. A single client
#                shares a core with its server process, unless ", two cores" follows
#   pipeline     the same, with the script a hundred times in a transaction and in a pipeline. -t counts transactions, the figure
#                is of one of the hundred
#   refuses      must fail with 23503, in the first round
#   outcome      untimed, in the first round: what it prints must be the same for all rivals
#
# {if <condition>} after the step: only if it holds, a Perl expression of :variables and :round.
package Workload;
use strict;
use warnings;

my $verbs = 'before|warm|measure|count|pgbench|pipeline|refuses|outcome';

# new($file, $scale)
sub new {
    my ($class, $file, $scale) = @_;
    my ($name, $number) = $file =~ m{((?:w0?(\d+))\w*)\.sql$} or die "$file: not named as a workload\n";
    my $self = bless {name => $name, id => "W$number", file => $file, variables => {}, prepare => '', each => '', settle => '', rivals => [], sections => {}}, $class;
    open my $in, '<', $file or die "$file: $!\n";
    my $add;    # a reference to the text that lines belong to
    while (my $line = <$in>) {
        if ($. == 1) {
            ($self->{title}) = $line =~ /^-- $self->{id}: (.+)$/ or die "$file: the first line is no title of $self->{id}\n";
        } elsif ($line =~ /^-- (full|tiny): (.*)/) {
            $self->{variables} = {map { split /=/ } split ' ', $2} if $1 eq $scale;
        } elsif ($line =~ /^-- for (\w+)(, tiny)?: (.*)/) {
            next if $2 && $scale ne 'tiny';
            $self->{for} = $1;
            $self->{values} = [map { [/=/ ? split /=/ : ($_, $_)] } split ' ', $3];
        } elsif ($line =~ /^-- ==== prepare( each)?$/) {
            $add = $1 ? \$self->{each} : \$self->{prepare};
        } elsif ($line =~ /^-- ==== settle$/) {
            $add = \$self->{settle};
        } elsif ($line =~ /^-- ==== ([^:]+): ($verbs)(?: ([^{]*?))?(?: \{(.*)\})?$/) {
            my ($rival, $verb, $step, $options) = ($1, $2, $3 // '', $4 // '');
            push @{ $self->{rivals} }, $rival if !$self->{sections}{$rival};
            my $section = {verb => $verb, step => $step, options => $options, text => ''};
            push @{ $self->{sections}{$rival} }, $section;
            $add = \$section->{text};
        } elsif ($line =~ /^-- ====/) {
            die "$file:$.: what is this? $line";
        } elsif ($add) {
            $$add .= $line;
        } elsif ($line !~ /^(--.*)?$/) {
            die "$file:$.: belongs to nothing: $line";
        }
    }
    die "$file: no rivals\n" if !@{ $self->{rivals} };
    $self->{values} //= [['', '']];
    return $self;
}

# variables_for($value, $round): of one turn; $value is an element of {values}
sub variables_for {
    my ($self, $value, $round) = @_;
    my %all = (%{ $self->{variables} }, round => $round);
    @all{'label', $self->{for}} = @$value if $self->{for};
    return \%all;
}

# rivals_in($round): so that none of them always comes first, or always after the same one
sub rivals_in {
    my ($self, $round) = @_;
    my @rivals = @{ $self->{rivals} };
    my $first = ($round - 1) % @rivals;
    return (@rivals[$first .. $#rivals], @rivals[0 .. $first - 1]);
}

# expand($text, \%variables): also within quotes, which psql would not do; other names are psql's or pgbench's own
sub expand {
    my ($text, $variables) = @_;
    $text =~ s/:(\w+)/$variables->{$1} \/\/ ":$1"/ge;
    return $text;
}

# wanted($section, \%variables): does its condition hold?
sub wanted {
    my ($section, $variables) = @_;
    my ($condition) = $section->{options} =~ /^if (.*)/ or return 1;
    my $holds = eval expand($condition, $variables);
    die "condition {$section->{options}}: $@" if $@;
    return $holds;
}

1;
