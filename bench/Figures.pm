# The figures of one run, and the goals, of which each is held against them.
package Figures;
use strict;
use warnings;

# new($file): what bench/drive has printed, after lines "# name<tab>value" that say on what it ran
sub new {
    my ($class, $file) = @_;
    my $self = bless {about => {}, value => {}, rivals => {}, steps => {}, workloads => [], rounds => 0}, $class;
    open my $in, '<', $file or die "$file: $!\n";
    while (my $line = <$in>) {
        chomp $line;
        if ($line =~ /^# ([^\t]+)\t(.*)/) {
            $self->{about}{$1} = $2;
            next;
        }
        my ($workload, $step, $rival, $round, $metric, $value) = split /\t/, $line;
        push @{ $self->{workloads} }, $workload if !$self->{steps}{$workload};
        push @{ $self->{steps}{$workload} }, $step if !$self->{rivals}{$workload}{$step};
        push @{ $self->{rivals}{$workload}{$step} }, $rival if !grep { $_ eq $rival } @{ $self->{rivals}{$workload}{$step} // [] };
        $self->{value}{$workload}{$step}{$rival}{$metric}{$round} = $value;
        $self->{rounds} = $round if $round > $self->{rounds};
    }
    return $self;
}

sub sorted_median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

# all($workload, $step, $rival, $metric): of all rounds
sub all {
    my ($self, $workload, $step, $rival, $metric) = @_;
    return values %{ $self->{value}{$workload}{$step}{$rival}{$metric} // {} };
}

# median(...): as all(); undef if there is none
sub median {
    my @all = all(@_);
    return @all ? sorted_median(@all) : undef;
}

# value(..., $round): of that round, or the median if that has none: what takes long is measured once
sub value {
    my ($self, $round, @what) = @_;
    my ($workload, $step, $rival, $metric) = @what;
    return $self->{value}{$workload}{$step}{$rival}{$metric}{$round} // $self->median(@what) // die "no figure: $metric of $workload, $step, $rival\n";
}

# ---------------------------------------------------------------- goals

sub read_goals {
    my ($file) = @_;
    my @goals;
    open my $in, '<', $file or die "$file: $!\n";
    while (my $line = <$in>) {
        next if $line =~ /^(#.*)?$/;
        my ($where, $words, $expression, $relation, $bound) = $line =~ /^(.+?) \| (.+?) \| (.+?) \| ([<>]=) ([\d.]+)$/ or die "$file:$.: no goal: $line";
        my ($workload, $step) = $where =~ /^(W\d+)(?:, (.*))?$/ or die "$file:$.: which workload is \"$where\"?\n";
        push @goals, {workload => $workload, step => $step // '', words => $words, expression => $expression, relation => $relation, bound => $bound};
    }
    return @goals;
}

# reached($goal): the median of its expression with the least and the greatest of the rounds, and whether it is what it must be, to
# two digits behind the point
sub reached {
    my ($self, $goal) = @_;
    my @values;
    for my $round (1 .. $self->{rounds}) {
        my $sum = $goal->{expression};
        # Where a rival's name has a comma it is still one name; a step begins with " @ ".
        $sum =~ s{\b([a-z_]+)\((?:(W\d+): )?([^()@]+?)(?: \@ ([^()]+))?\)}{
            (my $metric = $1) =~ tr/_/ /;
            '(' . $self->value($round, $2 // $goal->{workload}, $4 // ($2 ? '' : $goal->{step}), $3, $metric) . ')'
        }ge;
        my $value = eval $sum;
        die "goal $goal->{workload}: $goal->{expression}: $@" if !defined $value && $@ !~ /division by zero/;
        push @values, $value // 0;
    }
    @values = sort { $a <=> $b } @values;
    my $median = sprintf '%.2f', sorted_median(@values);
    my $words = @values > 1 && $values[0] != $values[-1] ? sprintf('%s (%.2f to %.2f)', $median, @values[0, -1]) : $median;
    return ($words, $goal->{relation} eq '>=' ? $median >= $goal->{bound} : $median <= $goal->{bound});
}

# goals_of(@goals): those that this run can tell of, because it had the workload
sub goals_of {
    my ($self, @goals) = @_;
    return grep {
        my @needs = $_->{expression} =~ /\((W\d+):/g;
        !grep { !$self->{steps}{$_} } @needs ? @needs : $_->{workload};
    } @goals;
}

1;
