"""Clients that mean harm, one generator function for each kind: each yields after every small step,
so that whoever runs it decides how fast it goes and when it ends.

Each takes a Target (where the receiver listens) and goes on for ever; errors of the network are its
everyday life and begin its next round. What the kinds have in common: they cost the sender little.
"""

import os
import random
import socket
import ssl
import struct
import time

TRANSACTION = "EHLO abuse.test\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n"


class Target:
    """`tls_share` of the SMTP connections are made over TLS."""

    def __init__(self, host, port, tls_port, zone="abuse.test", tls_share=0.2):
        self.host, self.port, self.tls_port, self.zone = host, port, tls_port, zone
        self.rng, self.tls_share = random.Random(port), tls_share

    def connect(self, port=None, receive_buffer=None, timeout=1, banner=True):
        """With the banner heard, where there is one: who talks before it is sent away at once."""
        tls = port is None and self.rng.random() < self.tls_share
        s = socket.socket()
        s.settimeout(timeout)
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            s.connect((self.host, port or (self.tls_port if tls else self.port)))
            s = CONTEXT.wrap_socket(s) if tls else s
            if port is None and banner:
                self.talk(s, b"", b"220 ")
            return s
        except OSError:
            s.close()
            raise

    def begin(self, sender="a@abuse.test"):
        """A connection at which content is expected."""
        s = self.connect()
        try:
            self.talk(s, TRANSACTION.format(sender=sender).encode(), b"354")
        except OSError:
            s.close()
            raise
        return s

    @staticmethod
    def talk(s, data, until, seconds=1):
        s.sendall(data)
        got, end = b"", time.monotonic() + seconds
        while until not in got and time.monotonic() < end:
            part = s.recv(65536)
            if not part:
                raise ConnectionError("closed")
            got += part
        return got


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


CONTEXT = context()


def hear(s):
    """What has been answered by now. All kinds take turns in one thread: none may wait for long."""
    s.settimeout(0.02)
    try:
        return s.recv(65536)
    except TimeoutError:
        return b""
    finally:
        s.settimeout(1)


def forever(attack):
    """Starts a generator anew when the network or the receiver ended it."""
    def run(target, rng):
        while True:
            try:
                yield from attack(target, rng)
            except (OSError, ConnectionError, EOFError):
                yield
    run.__name__ = attack.__name__
    return run


@forever
def given_up_while_checked(target, rng):
    """A signed message of some megabytes that becomes worthless at its end."""
    s = target.begin()
    with s:
        signature = rng.choice([b"x", b"v=1; a=rsa-sha256; c=relaxed/relaxed; d=%d.silent.%s; s=x; "
                                b"h=from; bh=%s=; b=%s=" % (rng.randrange(10**9), target.zone.encode(),
                                                            b"A" * 43, b"B" * 343)])
        s.sendall(b"DKIM-Signature: %s\r\nFrom: a@abuse.test\r\n\r\n" % signature)
        # In one go: faster than it can be hashed.
        s.sendall((b"x" * 76 + b"\r\n") * rng.randint(1000, 100_000))
        s.sendall(rng.choice([b"\0", b"x\ny", b"x\ry", b"y" * 70000]) + b"\r\n.\r\n")
        yield
        hear(s)


@forever
def many_signatures(target, rng):
    """As many signatures as a header section holds, each with its own l= and a key to look up."""
    s = target.begin()
    with s:
        header = b"".join(
            b"DKIM-Signature: v=1; a=rsa-sha256; d=k%d.%s; s=s%d; l=%d; h=from; bh=%s; b=%s\r\n" %
            (i, target.zone.encode(), i, i, b"A" * 43 + b"=", b"B" * 340) for i in range(100))
        s.sendall(header + b"From: a@" + target.zone.encode() + b"\r\n\r\n" + b"body\r\n" * 2000)
        yield
        s.sendall(b".\r\n")
        hear(s)
    yield


@forever
def colliding_fields(target, rng):
    """A header section of a thousand fields that nothing looks for."""
    s = target.begin()
    with s:
        letters = b"abcdefghijklmnop"
        fields = b"".join(bytes(rng.choice(letters) for _ in range(12)) + b": x\r\n"
                          for _ in range(990))
        s.sendall(fields + b"From: a@abuse.test\r\n\r\nx\r\n.\r\n")
        yield
        hear(s)


@forever
def dns_eater(target, rng):
    """Senders whose names nobody has asked for before; the DNS of some never answers."""
    s = target.connect()
    with s:
        target.talk(s, b"EHLO abuse.test\r\n", b"250 ")
        for _ in range(4):
            kind = rng.choice([b"silent", b"known", b"known"])
            s.sendall(b"".join(b"MAIL FROM:<a@%d.%s.%s>\r\nRSET\r\n" % (
                rng.randrange(10**9), kind, target.zone.encode()) for _ in range(24)))
            yield
        hear(s)


@forever
def envelope_hoard(target, rng):
    """Hundreds of long recipients, and then nothing."""
    s = target.connect()
    with s:
        target.talk(s, b"EHLO abuse.test\r\nMAIL FROM:<a@abuse.test>\r\n", b"2.1.0")
        for i in range(20):
            s.sendall(b"".join(b"RCPT TO:<%s%d@mx.test>\r\n" % (b"r" * 300, i * 50 + k)
                               for k in range(50)))
            yield
            hear(s)
        for _ in range(rng.randint(1, 200)):
            yield


@forever
def never_reads(target, rng):
    """Pipelines what has long replies and reads none."""
    s = target.connect(receive_buffer=2048, timeout=0.2)
    with s:
        for _ in range(200):
            s.sendall(b"HELP\r\nNOOP\r\nVRFY x\r\n" * 40)
            yield


@forever
def dribbler(target, rng):
    """A command, then a message, a byte at a time."""
    s = target.connect()
    with s:
        for byte in TRANSACTION.format(sender="a@abuse.test").encode() + b"From: a@b\r\n" * 100:
            s.sendall(bytes([byte]))
            yield


@forever
def half_open_tls(target, rng):
    """Begins handshakes and goes, or stays."""
    s = target.connect(target.tls_port)
    with s:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        link = CONTEXT.wrap_bio(incoming, outgoing)
        try:
            link.do_handshake()
        except ssl.SSLWantReadError:
            pass
        hello = outgoing.read()
        s.sendall(hello[:rng.randint(1, len(hello))])
        for _ in range(rng.randint(0, 100)):
            yield


@forever
def partial_records(target, rng):
    """Whole handshakes, then the beginning of a record that never ends."""
    s = target.connect(target.tls_port)
    with s:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        link = CONTEXT.wrap_bio(incoming, outgoing)
        while True:
            try:
                link.do_handshake()
                s.sendall(outgoing.read())
                break
            except ssl.SSLWantReadError:
                s.sendall(outgoing.read())
                part = s.recv(65536)
                if not part:
                    raise ConnectionError("closed") from None
                incoming.write(part)
            yield
        s.sendall(b"\x17\x03\x03\x48\x00" + b"a" * rng.randint(1, 16000))
        for _ in range(rng.randint(1, 300)):
            yield


@forever
def broken_records(target, rng):
    """Records of every type, empty, padded, too long, out of order."""
    s = target.connect(target.tls_port)
    with s:
        for _ in range(20):
            kind = rng.choice([20, 21, 22, 23, 24, 0, 255])
            size = rng.choice([0, 1, 16, 17, 255, 16384, 16640, 16641, 65535])
            s.sendall(struct.pack(">BHH", kind, rng.choice([0x301, 0x303, 0x304]), size) +
                      os.urandom(min(size, 4096)))
            yield


@forever
def noise(target, rng):
    """Bytes of no protocol at all."""
    s = target.connect(rng.choice([target.port, target.tls_port, None]))
    with s:
        for _ in range(rng.randint(1, 20)):
            s.sendall(os.urandom(rng.randint(1, 5000)))
            yield


@forever
def smuggler(target, rng):
    """Ends of data that are none, with another message after each."""
    s = target.begin()
    with s:
        end = rng.choice([b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n\0.\r\n"])
        s.sendall(b"From: a@abuse.test\r\n\r\nfirst" + end +
                  b"MAIL FROM:<smuggled@abuse.test>\r\nRCPT TO:<smuggled@mx.test>\r\nDATA\r\n"
                  b"From: smuggled@abuse.test\r\n\r\nsmuggled\r\n.\r\nQUIT\r\n")
        yield
        hear(s)


@forever
def chunk_liar(target, rng):
    """BDAT whose sizes are not what follows."""
    s = target.connect()
    with s:
        target.talk(s, b"EHLO abuse.test\r\nMAIL FROM:<a@abuse.test>\r\nRCPT TO:<b@mx.test>\r\n",
                    b"2.1.5")
        size = rng.choice([b"0", b"5", b"99999999999999999999999999999", b"-1", b"1000000"])
        s.sendall(b"BDAT " + size + rng.choice([b"", b" LAST"]) +
                  b"\r\nMAIL FROM:<smuggled@abuse.test>\r\nRCPT TO:<smuggled@mx.test>\r\nDATA\r\n")
        yield
        hear(s)


@forever
def chunks_cut_short(target, rng):
    """BDAT in small pieces, and gone in the middle of one, at its end or before the last."""
    s = target.connect()
    with s:
        target.talk(s, b"EHLO abuse.test\r\nMAIL FROM:<a@abuse.test>\r\nRCPT TO:<b@mx.test>\r\n",
                    b"2.1.5")
        for _ in range(rng.randint(1, 40)):
            size = rng.choice([1, 2, 100, 5000])
            s.sendall(b"BDAT %d\r\n" % size + b"x" * (size - rng.choice([0, 0, 0, 0, 1])))
            yield
        hear(s)


@forever
def wrong_door(target, rng):
    """Headers of a balancer, requests of a browser, XCLIENT: from where they are not believed."""
    s = target.connect(banner=rng.random() < 0.5)
    with s:
        s.sendall(rng.choice([
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\x7f\0\0\1" * 3,
            b"EHLO abuse.test\r\nXCLIENT ADDR=192.0.2.1\r\n", b"STARTTLS\r\nNOOP\r\n"]))
        yield
        hear(s)


@forever
def half_gone(target, rng):
    """Whole messages whose sender closes its side, or resets, before the answer."""
    s = target.begin("half@abuse.test")
    with s:
        s.sendall(b"From: a@abuse.test\r\n\r\n" + b"h" * rng.randint(1, 900) + b"\r\n.\r\n")
        if rng.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            s.shutdown(socket.SHUT_WR)
        yield


@forever
def slammer(target, rng):
    """Connects and goes, with and without a reset."""
    for _ in range(10):
        s = target.connect(banner=rng.random() < 0.5)
        if rng.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    yield


@forever
def idler(target, rng):
    """Says hello, and nothing more; again and again without mail."""
    s = target.connect()
    with s:
        for _ in range(120):
            s.sendall(rng.choice([b"NOOP\r\n", b"EHLO abuse.test\r\n", b"RSET\r\n", b"FOO\r\n"]))
            yield


@forever
def large_and_honest(target, rng):
    """One large message with a signature: not to be mistaken for an attack."""
    s = target.begin("large@abuse.test")
    with s:
        s.sendall(b"DKIM-Signature: v=1; a=rsa-sha256; d=%s; s=x; h=from; bh=AA==; b=AA==\r\n"
                  b"From: a@abuse.test\r\n\r\n" % target.zone.encode())
        for _ in range(100):
            s.sendall((b"z" * 76 + b"\r\n") * 500)
            yield
        s.sendall(b".\r\n")
        yield
        hear(s)


KINDS = [given_up_while_checked, many_signatures, colliding_fields, dns_eater, envelope_hoard,
         never_reads, dribbler, half_open_tls, partial_records, broken_records, noise, smuggler,
         chunk_liar, chunks_cut_short, wrong_door, half_gone, slammer, idler, large_and_honest]


def run(target, seconds, seed, each=3, steps_per_second=400, kinds=tuple(KINDS)):
    """All kinds at once in one thread, some of each, in turn; returns the steps made."""
    rng = random.Random(seed)
    running = [kind(target, random.Random(rng.random())) for kind in kinds for _ in range(each)]
    end = time.monotonic() + seconds
    steps = 0
    while time.monotonic() < end:
        begun = time.monotonic()
        for attack in running:
            next(attack)
            steps += 1
        time.sleep(max(0.0, len(running) / steps_per_second - (time.monotonic() - begun)))
    for attack in running:
        attack.close()
    return steps
