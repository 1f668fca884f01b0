# Listens at an address of the machine, and carries what is said there over standard input and output.
#
# A frame is the number of a connection and the length of what follows, both 32 bits, the higher ones first. The first frame has the
# number 0 and says that it listens. A frame without content begins the connection that it names, and another one ends it.
use strict;
use warnings;
use IO::Select;
use Socket qw(:DEFAULT IPPROTO_IP);

my ($address, $port, $hops) = @ARGV;
socket(my $listener, PF_INET, SOCK_STREAM, 0) or die "cannot make a socket: $!\n";
setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1) or die "cannot reuse the address: $!\n";
my $IP_TTL = 2;    # Linux; Socket does not export it everywhere
setsockopt($listener, IPPROTO_IP, $IP_TTL, $hops) or die "cannot limit the hops to $hops: $!\n";
bind($listener, sockaddr_in($port, inet_aton($address))) or die "cannot listen at $address:$port: $!\n";
listen($listener, SOMAXCONN) or die "cannot listen at $address:$port: $!\n";

$SIG{PIPE} = 'IGNORE';
my ($last, %connections, %numbers) = (0);
my $readable = IO::Select->new(\*STDIN, $listener);

sub send_frame {
    my ($number, $data) = @_;
    my $frame = pack('NN', $number, length $data) . $data;
    while (length $frame) {
        my $written = syswrite(STDOUT, $frame);
        defined $written or exit;
        substr($frame, 0, $written, '');
    }
}

sub end {
    my ($number) = @_;
    my $connection = delete $connections{$number} or return;
    delete $numbers{fileno $connection};
    $readable->remove($connection);
    close $connection;
    send_frame($number, '');
}

# read_all reads so many bytes of standard input; the program ends with it.
sub read_all {
    my ($length) = @_;
    my $data = '';
    while (length $data < $length) {
        sysread(STDIN, $data, $length - length $data, length $data) or exit;
    }
    return $data;
}

send_frame(0, '');
while (my @ready = $readable->can_read) {
    for my $from (@ready) {
        if ($from == $listener) {
            accept(my $connection, $listener) or next;
            # Who does not take what is sent is given up after a second: the others wait as long.
            setsockopt($connection, SOL_SOCKET, SO_SNDTIMEO, pack('l!l!', 1, 0));
            $connections{ ++$last } = $connection;
            send_frame($last, '');
            $numbers{ fileno $connection } = $last;
            $readable->add($connection);
        } elsif ($from == \*STDIN) {
            my ($number, $length) = unpack('NN', read_all(8));
            my $data = read_all($length);
            my $connection = $connections{$number} or next;
            end($number) if $length == 0 || (syswrite($connection, $data) // 0) != $length;
        } else {
            my $number = defined fileno $from ? $numbers{ fileno $from } : undef;
            defined $number or next;
            my $read = sysread($from, my $data, 16384);
            $read ? send_frame($number, $data) : end($number);
        }
    }
}
