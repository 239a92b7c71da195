#!/usr/bin/perl
# Writes messages with MIME::Lite, a writer that much older software for parties uses, into the folder given:
# mime_lite.pl FOLDER SENDER RECIPIENT. One file per message, named after what it shows.
use strict;
use warnings;
use MIME::Lite;

my ($folder, $sender, $recipient) = @ARGV;
my $edifact = "UNB+UNOC:3+NL854502130:ZZZ+NLDOUANE:ZZZ+261123:0930+1'\nUNZ+0+1'\n";
my $text = "Geachte heer/mevrouw,\n\nBijgaand \xc3\xa9\xc3\xa9n aangifte.\n";

sub message {
    return MIME::Lite->new(
        From         => $sender,
        To           => $recipient,
        Subject      => '=?utf-8?q?Aangifte_=C3=A9=C3=A9n?=',
        Date         => 'Mon, 23 Nov 2026 10:00:00 +0100',
        'Message-ID' => '<20261123.3@partij.digipoort.test>',
        @_
    );
}

sub save {
    my ($name, $message) = @_;
    $message->attr('content-type.boundary' => "_----------=_$name") if $message->parts;
    open(my $file, '>', "$folder/$name") or die "$folder/$name: $!";
    $message->print($file);
    close($file) or die "$folder/$name: $!";
}

for my $encoding ('8bit', 'quoted-printable', 'base64') {
    save("text-$encoding", message(Type => 'text/plain; charset=utf-8', Encoding => $encoding, Data => $text));
}
save('edifact', message(Type => 'application/edifact', Encoding => '7bit', Data => $edifact));
save('text-without-charset', message(Type => 'TEXT', Encoding => '7bit', Data => $edifact));
save('text-untold', message(Type => 'TEXT', Data => $edifact));

for my $told ([], [Encoding => '7bit']) {
    my $mixed = message(Type => 'multipart/mixed', @$told);
    $mixed->attach(Type => 'text/plain; charset=utf-8', Encoding => 'quoted-printable', Data => $text);
    $mixed->attach(
        Type => 'application/pdf', Encoding => 'base64', Filename => 'factuur.pdf', Data => join('', map { chr } 0 .. 255)
    );
    $mixed->attach(
        Type => 'application/edifact', Encoding => '7bit', Disposition => 'attachment', Filename => 'aangifte 1.edi',
        Data => $edifact
    );
    save(@$told ? 'attachments' : 'attachments-untold', $mixed);
}

my $related = message(Type => 'multipart/related', Encoding => '7bit');
$related->attach(
    Type => 'text/html; charset=utf-8', Encoding => '7bit', Data => '<p>Rozen <img src="cid:roos.png"></p>'
);
$related->attach(Type => 'image/png', Id => 'roos.png', Encoding => 'base64', Data => "\x89PNG\r\n\x1a\n");
save('related', $related);
