#!/usr/bin/env python3
"""The end of a message over TLS: each piece is a record of its own, cut at every place; and ends of
the connection in the middle of things."""
import contextlib
import socket
import ssl
import struct

import mxtest
from tls_test import TlsCase, TlsWire

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


if __name__ == "__main__":
    mxtest.main()
