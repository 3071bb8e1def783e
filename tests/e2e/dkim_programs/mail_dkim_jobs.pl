# Jobs for Mail::DKIM (libmail-dkim-perl): see dkim_interop_test.py.
use strict;
use warnings;

use Crypt::OpenSSL::RSA;
use JSON::PP;
use Mail::DKIM::DNS;
use Mail::DKIM::PrivateKey;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;
use Net::DNS::Resolver;

my ($host, $port) = $ARGV[0] =~ /^(.*):(\d+)$/;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(
    nameservers => [$host], port => $port, recurse => 0, udp_timeout => 5));

sub content {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!\n";
    local $/;
    return scalar <$in>;
}

# It takes the base64 of PKCS #1; OpenSSL's object is loaded from PKCS #8 too.
sub private_key {
    my ($file) = @_;
    my $key = Crypt::OpenSSL::RSA->new_private_key(content($file));
    return Mail::DKIM::PrivateKey->load(Cork => $key);
}

sub run {
    my ($job) = @_;
    my $message = content($job->{file});
    if ($job->{op} eq 'verify') {
        my $verifier = Mail::DKIM::Verifier->new;
        $verifier->PRINT($message);
        $verifier->CLOSE;
        return $verifier->result eq 'pass' ? 'pass' : 'fail';
    }
    my $signer = Mail::DKIM::Signer->new(
        Algorithm => $job->{a}, Method => $job->{c}, Domain => $job->{domain},
        Selector => $job->{selector}, Key => private_key($job->{key}));
    $signer->PRINT($message);
    $signer->CLOSE;
    open my $out, '>:raw', $job->{out} or die "$job->{out}: $!\n";
    print $out $signer->signature->as_string, "\r\n", $message;
    close $out;
    return 'signed';
}

my $json = JSON::PP->new->canonical;
while (my $line = <STDIN>) {
    my $job = $json->decode($line);
    my $result = eval { run($job) };
    if (!defined $result) {
        $result = "error: $@";
    }
    print $json->encode({file => $job->{file}, result => $result}), "\n";
}
