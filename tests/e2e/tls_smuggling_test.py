#!/usr/bin/env python3
"""The end of a message over TLS: each piece is a record of its own, cut at every place; and ends of
the connection in the middle of things."""
import contextlib
import os
import socket
import ssl
import struct

import mxtest
from tls_test import StartTlsWire, TlsCase, TlsWire

HEAD = b"From: a@client.test\r\nSubject: one\r\n\r\nbody"
SECOND = b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n" \
         b"From: evil@client.test\r\n\r\nsmuggled\r\n.\r\n"
NO_ENDS = (b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n\0.\r\n",
           b"\r\n.\0\r\n")


class Records(TlsCase):
    def begin(self, wire):
        wire.hello()
        for command in ("MAIL FROM:<a@client.test>", "RCPT TO:<b@mx.test>"):
            self.assertRegex(wire.ask(command), "^250")
        self.assertRegex(wire.ask("DATA"), "^354")

    def cut(self, wire, data, at):
        for piece in (data[:at], data[at:]):
            if piece:
                wire.socket.sendall(piece)  # one record

    def test_no_other_end_is_one(self):
        self.start()
        for end in NO_ENDS:
            for at in range(len(end) + 1):
                with TlsWire(self.tls_address) as wire:
                    self.begin(wire)
                    self.cut(wire, HEAD + end + SECOND, len(HEAD) + at)
                    self.assertRegex(wire.reply(), "^550 5.5.2", (end, at))
                    self.assertRegex(wire.ask("NOOP"), "^250", (end, at))
        self.assertEqual(self.log.records(), [])

    def test_the_end_cut_anywhere_is_one(self):
        self.start()
        end = b"\r\n.\r\n"
        for at in range(len(end) + 1):
            with TlsWire(self.tls_address) as wire:
                self.begin(wire)
                self.cut(wire, HEAD + end, len(HEAD) + at)
                self.assertRegex(wire.reply(), "^250 2.0.0 Ok", at)
        with TlsWire(self.tls_address) as wire:
            self.begin(wire)
            for i in range(len(HEAD + end)):
                wire.socket.sendall((HEAD + end)[i:i + 1])
            self.assertRegex(wire.reply(), "^250 2.0.0 Ok")
        self.assertEqual(len(self.log.records()), len(end) + 2)

    def test_an_end_of_the_connection_ends_no_message(self):
        self.start()
        for data in (HEAD, HEAD + b"\r\n", HEAD + b"\r\n.", HEAD + b"\r\n.\r"):
            for how in ("close_notify", "fin", "reset"):
                wire = TlsWire(self.tls_address)
                self.begin(wire)
                wire.socket.sendall(data)
                if how == "close_notify":
                    with contextlib.suppress(ssl.SSLError):  # the answer may be a bare FIN
                        wire.socket.unwrap()
                if how == "reset":
                    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))
                wire.socket.close()
        self.still_works()
        self.assertEqual(len(self.log.records()), 1)


def go(wire, how):
    """Ends a connection: politely and hearing what is still said, politely, abruptly, at once."""
    heard = b""
    if how in ("close_notify and listen", "close_notify"):
        with contextlib.suppress(OSError, ValueError):
            wire.socket.settimeout(0.2)
            wire.socket.unwrap()  # reads up to the other's own close_notify
    if how == "fin and listen":
        with contextlib.suppress(OSError):
            # The side of TCP only: wrapped sockets cannot do it alone.
            os_socket = socket.socket(fileno=os.dup(wire.socket.fileno()))
            os_socket.shutdown(socket.SHUT_WR)
            os_socket.close()
            wire.socket.settimeout(2)
            while True:
                part = wire.socket.recv(65536)
                if not part:
                    break
                heard += part
    if how == "reset":
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()
    return heard


class Ends(TlsCase):
    """The connection ends, in every way, at every point of a dialogue: what was not sent to its end
    is in no log, what was answered 250 is, and whole."""

    ENVELOPE = b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\n"
    BODY = HEAD + b"\r\n" + b"line\r\n" * 50
    # What is sent after EHLO, and whether a whole message is among it.
    POINTS = (
        (b"", False), (b"MAIL FR", False), (b"MAIL FROM:<a@client.test>\r\n", False),
        (ENVELOPE, False), (ENVELOPE + b"DATA\r", False), (ENVELOPE + b"BDAT 100\r\n", False),
        (ENVELOPE + b"BDAT 100\r\n" + b"x" * 99, False),
        (ENVELOPE + b"BDAT 100\r\n" + b"x" * 100, False),
        (ENVELOPE + b"BDAT 10\r\n" + b"x" * 10 + b"BDAT 5 LAST\r\nabcd", False),
        (ENVELOPE + b"BDAT %d LAST\r\n" % len(BODY) + BODY, True),
        (ENVELOPE + b"BDAT %d\r\n" % len(BODY) + BODY + b"BDAT 0 LAST\r\n", True),
        (ENVELOPE + b"BDAT %d LAST\r\n" % len(BODY) + BODY + b"QUIT\r\n", True),
    )
    AFTER_DATA = ((b"", False), (BODY[:100], False), (BODY, False), (BODY + b".", False),
                  (BODY + b".\r", False), (BODY + b".\r\n", True), (BODY + b".\r\nQUIT\r\n", True),
                  (BODY + b".\r\n" + ENVELOPE, True))

    def test_at_every_point(self):
        self.start(listen={"admin": "127.0.0.1:0"})
        answered = complete = 0
        for how in ("close_notify", "fin and listen", "fin", "reset"):
            for kind in (TlsWire, StartTlsWire):
                address = self.tls_address if kind is TlsWire else self.server.address
                for points, data in ((self.POINTS, False), (self.AFTER_DATA, True)):
                    for sent, whole in points:
                        wire = kind(address)
                        wire.hello()
                        if data:
                            wire.send(self.ENVELOPE + b"DATA\r\n")
                            while not wire.reply().startswith("354"):
                                pass
                        if sent:
                            wire.send(sent)
                        answered += go(wire, how).count(b"250 2.0.0 Ok ")
                        complete += whole
        mxtest.wait_until(self.settled, 60, "all connections are closed")
        self.still_works()
        records = self.log.records()
        self.assertGreater(answered, 8)
        self.assertGreaterEqual(len(records) - 1, answered)
        self.assertLessEqual(len(records) - 1, complete)
        self.assertEqual({record["sha256"] for record in records[:-1]}, {mxtest.sha256(self.BODY)})
        self.assertEqual(self.server.stop(), 0)

    def settled(self):
        status = self.counters()
        return status["connections_accepted_total"] == status["connections_closed_total"]


class Canary(TlsCase):
    """Buffers of plaintext are used again for other clients: nothing of one reaches another or the
    log."""

    CONFIG = {"shards": {"count": 1, "buffers_offered": 8},
              "limits": {"memory": "16MiB", "message_size": "4MiB"}}
    MARK = b"CANARY-e41c"

    def refused(self, wire):
        wire.hello()
        wire.ask(self.MARK.decode())
        for command in ("MAIL FROM:<a@client.test>", "RCPT TO:<b@mx.test>", "DATA"):
            wire.ask(command)
        wire.send((self.MARK + b" of the mine\r\n") * 30_000 + b"\0\r\n.\r\n")
        self.assertRegex(wire.reply(), "^550 5.5.2")
        with contextlib.suppress(OSError):
            wire.send((self.MARK + b"\r\n") * 5)
            wire.close()

    def heard(self, wire):
        said = wire.banner + wire.hello()
        for command in ("NOOP", "FOO", "HELP", "MAIL FROM:<>", "RSET"):
            said += wire.ask(command)
        for size in (1, 3000, 20_000):
            said += wire.message(b"From: a@client.test\r\n\r\n" + b"x\r\n" * (size // 3))
        wire.close()
        return said

    def test_nothing_of_one_reaches_another(self):
        self.start()
        kinds = ((TlsWire, self.tls_address), (StartTlsWire, self.server.address),
                 (mxtest.Wire, self.server.address))
        said = ""
        for kind, address in kinds[:2]:
            for other, to in kinds:
                self.refused(kind(address))
                said += self.heard(other(to))
        self.assertEqual(said.count("250 2.0.0 Ok "), 3 * 6, said[-2000:])
        self.assertNotIn(self.MARK.decode(), said)
        self.assertEqual(self.server.stop(), 0)
        for folder, _, files in os.walk(self.server.log_dir):
            for name in files:
                with open(os.path.join(folder, name), "rb") as file:
                    self.assertNotIn(self.MARK, file.read(), name)


if __name__ == "__main__":
    mxtest.main()
