# Connects to a port of the machine, and carries what is said there over standard input and output. One byte first says that it is
# connected. The connection ends with either side of it.
use strict;
use warnings;
use Socket;

my ($address, $port) = @ARGV;
socket(my $connection, PF_INET, SOCK_STREAM, 0) or die "cannot make a socket: $!\n";
connect($connection, sockaddr_in($port, inet_aton($address))) or die "cannot connect to $address:$port: $!\n";
$SIG{PIPE} = 'IGNORE';

sub copy {
    my ($from, $to) = @_;
    while (sysread($from, my $data, 65536)) {
        while (length $data) {
            my $written = syswrite($to, $data) or return;
            substr($data, 0, $written, '');
        }
    }
}

syswrite(STDOUT, "\0") or exit;
defined(my $child = fork) or die "cannot fork: $!\n";
if ($child == 0) {
    copy(\*STDIN, $connection);
    shutdown($connection, 2);    # which ends the other direction
    exit;
}
copy($connection, \*STDOUT);
kill 'KILL', $child;
waitpid $child, 0;
