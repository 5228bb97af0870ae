# One psql, so that a statement can be timed, and the memory of its backend watched meanwhile.
#
# psql and not a driver: it is on every machine that has a PostgreSQL, DBI is not. Its \timing takes the time from sending
# a statement to having its result, so what this program does in between is not counted.
package Session;
use strict;
use warnings;
use IPC::Open2;
use IO::Select;

my $mark = '=done=';

sub new {
    my ($class, $database) = @_;
    my $psql = $ENV{PGBIN} ? "$ENV{PGBIN}/psql" : 'psql';
    # The shell only for 2>&1: an error shall come in the same stream, at its place.
    my $pid = open2(my $out, my $in, 'sh', '-c', 'exec "$@" 2>&1', 'sh',
        $psql, qw(-X -q -A -t -v ON_ERROR_STOP=1 -v VERBOSITY=verbose -d), $database);
    my $self = bless {pid => $pid, out => $out, in => $in}, $class;
    $self->{backend} = $self->run('SET client_min_messages = warning; SELECT pg_backend_pid();');
    return $self;
}

# try($text, $while): what psql prints for it. $while is called every few milliseconds until then. undef and the
# text in {error} if psql has ended, which it does at the first error.
sub try {
    my ($self, $text, $while) = @_;
    my ($answer, $ready) = ('', IO::Select->new($self->{out}));
    local $SIG{PIPE} = 'IGNORE';
    print { $self->{in} } "$text\n\\echo $mark\n";
    $self->{in}->flush;
    until ($answer =~ s/^\Q$mark\E\n\z//m) {
        if ($while) {
            $while->();
            next if !$ready->can_read(0.005);
        }
        if (!sysread $self->{out}, $answer, 65536, length $answer) {
            $self->{error} = $answer;
            return;
        }
    }
    chomp $answer;
    return $answer;
}

sub run {
    my ($self, $text, $while) = @_;
    my $answer = $self->try($text, $while);
    die "$text\n$self->{error}" if !defined $answer;
    return $answer;
}

# measure($text): milliseconds of its statements together, and the peak of private memory in kB
sub measure {
    my ($self, $text) = @_;
    my $peak = 0;
    my $watch = $self->watcher(\$peak);
    my $answer = $self->run("\\timing on\n$text\n\\timing off", $watch);
    my @times = $answer =~ /^Time: ([\d.]+) ms/mg;
    die "nothing was timed in:\n$text\n$answer\n" if !@times;
    my $sum = 0;
    $sum += $_ for @times;
    return ($sum, $peak);
}

# watcher(\$peak): keeps in $peak the most that the backend and its parallel workers had at once for themselves. RssAnon
# is what no file and no shared memory stands behind; shared buffers would hide everything else.
sub watcher {
    my ($self, $peak) = @_;
    my $postmaster = line_of("/proc/$self->{backend}/status", qr/^PPid:\s+(\d+)/m);
    my %is_worker;
    return sub {
        my $sum = private_memory($self->{backend});
        if ($postmaster && open my $file, '<', "/proc/$postmaster/task/$postmaster/children") {
            for my $child (split ' ', <$file> // '') {
                $is_worker{$child} //= (line_of("/proc/$child/cmdline", qr/(.*)/) // '') =~ /parallel worker for PID $self->{backend}\b/;
                $sum += private_memory($child) if $is_worker{$child};
            }
        }
        $$peak = $sum if $sum > $$peak;
    };
}

sub private_memory { my ($pid) = @_; return line_of("/proc/$pid/status", qr/^RssAnon:\s+(\d+)/m) // 0 }

# line_of($file, $pattern): its first group, if the file is (still) there
sub line_of {
    my ($name, $pattern) = @_;
    open my $file, '<', $name or return;
    local $/;
    my $text = <$file>;
    return defined $text && $text =~ $pattern ? $1 : undef;
}

# close(): returns when the backend is gone, and with it its locks
sub close {
    my ($self) = @_;
    CORE::close $self->{in};
    CORE::close $self->{out};
    waitpid $self->{pid}, 0;
    for (1 .. 1000) {
        last if !-e "/proc/$self->{backend}";
        select undef, undef, undef, 0.01;
    }
    return;
}

1;
