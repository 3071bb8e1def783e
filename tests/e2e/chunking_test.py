"""BDAT and BINARYMIME (RFC 3030), and what clients write that the standard does not have, over sockets."""

import json
import os
import re
import socket
import ssl
import struct
import subprocess
import time

import mxtest
from mxtest import BINARY, Log, Wire

HEAD = b"From: a@client.test\r\nSubject: chunks\r\n\r\n"


def bdat(data, last=False):
    return b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data


class ChunkCase(mxtest.TestCase):
    def start(self, **sections):
        sections.setdefault("auth", {"spf": False, "dkim": False, "dmarc": False})
        self.server = self.serve(sections)
        self.log = Log(self.server.log_dir)

    def wire(self):
        wire = Wire(self.server.address)
        self.addCleanup(wire.close)
        wire.hello()
        return wire

    def envelope(self, wire, parameters=""):
        self.assertRegex(wire.ask(f"MAIL FROM:<a@client.test>{parameters}"), "^250")
        self.assertRegex(wire.ask("RCPT TO:<b@mx.test>"), "^250")


class Chunks(ChunkCase):
    def test_offered(self):
        self.start(limits={"recipients": 123, "messages_per_connection": 45,
                           "message_size": "3MiB"})
        with Wire(self.server.address) as wire:
            lines = wire.hello().split("\n")
        for line in ("250-CHUNKING", "250-BINARYMIME", "250-SIZE 3145728",
                     "250-LIMITS RCPTMAX=123 MAILMAX=45"):
            self.assertIn(line, lines)

    def test_sizes_pipelined(self):
        """Any sizes, one group, byte for byte, next to the same by DATA."""
        self.start()
        wire = self.wire()
        body = b"".join(b"%06d line with a dot\r\n.\r\n" % i for i in range(20_000))
        message = HEAD + body
        group = b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\n"
        at, replies = 0, 2
        for size in (1, 0, 2, 70_000, 16_384, 5, 0):
            group += bdat(message[at:at + size])
            at += size
            replies += 1
        wire.send(group + bdat(message[at:], last=True) + b"NOOP\r\n")
        for _ in range(replies):
            self.assertRegex(wire.reply(), "^250 2")
        self.assertEqual(wire.reply(), "250 2.0.0 Ok 0")
        self.assertEqual(wire.reply(), "250 2.0.0 Ok")
        self.assertRegex(wire.message(message), "^250 2.0.0 Ok 1$")
        self.assertEqual(self.log.as_received(0), message)
        self.assertEqual(self.log.as_received(1), message)
        metrics = subprocess.run([BINARY, "log", "verify", self.log.directory], check=False)
        self.assertEqual(metrics.returncode, 0)

    def test_octets_that_come_alone(self):
        """The last of a chunk, all of a chunk, and one that makes the message a faulty one."""
        self.start()
        message = HEAD + b"a body\r\n"
        for cut in (1, 2, len(message) - 1):
            wire = self.wire()
            self.envelope(wire)
            for part, last in ((message[:cut], False), (message[cut:], True)):
                group = bdat(part, last)
                wire.send(group[:-1])
                time.sleep(0.05)
                wire.send(group[-1:])
                self.assertRegex(wire.reply(), "^250 2")
        faulty = HEAD + b"bare \n line feed\r\n"
        wire = self.wire()
        self.envelope(wire)
        for octet in bdat(faulty, last=True):
            wire.send(bytes([octet]))
            time.sleep(0.002)
        self.assertRegex(wire.reply(), "^5")
        self.assertRegex(wire.message(message), "^250")
        self.assertEqual([self.log.as_received(i) for i in range(4)], [message] * 4)

    def test_the_load_generator_sends_chunks(self):
        """`load --chunking`: as many bytes as it says, and dots are content."""
        self.start()
        message = HEAD + b".\r\n..\r\n.dot\r\n" * 50
        path = os.path.join(self.directory, "message.eml")
        with open(path, "wb") as out:
            out.write(message)
        address = "%s:%d" % self.server.address
        for pipelining in ("on", "off"):
            done = self.run_client([BINARY, "load", address, "--chunking", "on", "--pipelining",
                                    pipelining, "--messages", "20", "--connections", "3",
                                    "--message", path, "--json"])
            self.assertEqual(json.loads(done.stdout)["accepted"], 20)
        self.run_client([BINARY, "load", address, "--chunking", "on", "--messages", "20",
                         "--size", "1000-90000", "--tls", "starttls", "--json"])
        records = self.log.records()
        self.assertEqual([r["sha256"] for r in records[:40]], [mxtest.sha256(message)] * 40)
        self.assertEqual(len(records), 60)
        refused = subprocess.run([BINARY, "load", address, "--chunking", "on", "--messages", "4",
                                  "--mail-from", "a@b.test", "--size", "30MiB", "--json"],
                                 capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(json.loads(refused.stdout)["rejected"][0]["code"], 552)

    def test_refused_payload_is_no_command(self):
        self.start()
        wire = self.wire()
        payload = b"MAIL FROM:<x@y.example>\r\nRCPT TO:<z@mx.test>\r\nQUIT\r\n" * 3000
        wire.send(bdat(payload, last=True) + b"NOOP\r\n")
        self.assertRegex(wire.reply(), "^503 5.5.1")
        self.assertEqual(wire.reply(), "250 2.0.0 Ok")
        self.envelope(wire)
        wire.send(bdat(HEAD) + b"RSET\r\nNOOP\r\n")
        self.assertEqual([wire.reply() for _ in range(3)], ["250 2.0.0 Ok"] * 3)
        self.assertEqual(self.log.records(), [])

    def test_bare_line_ends(self):
        self.start()
        wire = self.wire()
        for bad in (b"a\nb", b"a\rb", b"a\0b", b"a\r"):
            self.envelope(wire)
            wire.send(bdat(HEAD + bad, last=True))
            self.assertRegex(wire.reply(), r"^550 5\.5\.2", bad)
        self.assertEqual(self.log.records(), [])

    def test_sizes_that_lie(self):
        """Fewer octets than said and then the end: nothing is accepted, however it ends."""
        self.start()
        for ending in ("fin", "reset", "silence"):
            wire = self.wire()
            self.envelope(wire)
            wire.send(b"BDAT 100000 LAST\r\n" + HEAD)
            if ending == "reset":
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if ending == "silence":
                time.sleep(0.3)
            wire.close()
        with Wire(self.server.address) as wire:
            wire.hello()
            self.assertEqual(wire.message(HEAD), "250 2.0.0 Ok 0")
        self.assertEqual(len(self.log.records()), 1)

    def test_ended_by_tls(self):
        self.start(listen={"smtp": ["127.0.0.1:0"], "smtps": ["127.0.0.1:0"]})
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host, port = self.server.ready["smtps"].rsplit(":", 1)
        for ending in ("close_notify", "fin", "reset", "whole"):
            raw = socket.create_connection((host, int(port)), timeout=20)
            tls = context.wrap_socket(raw)
            stream = tls.makefile("rb")
            self.assertRegex(stream.readline(), b"^220")
            octets = len(HEAD) + (0 if ending == "whole" else 5000)
            tls.sendall(b"EHLO client.test\r\nMAIL FROM:<a@client.test>\r\n"
                        b"RCPT TO:<b@mx.test>\r\nBDAT %d LAST\r\n" % octets + HEAD)
            while not stream.readline().startswith(b"250 2.1.5"):
                pass
            if ending == "whole":
                self.assertEqual(stream.readline(), b"250 2.0.0 Ok 0\r\n")
            elif ending == "close_notify":
                tls.settimeout(5)
                try:
                    tls.unwrap()
                except (OSError, ssl.SSLError):
                    pass
            elif ending == "reset":
                raw_fd = socket.socket(fileno=tls.detach())
                raw_fd.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raw_fd.close()
            tls.close()
        self.assertEqual([r["mail_from"] for r in self.log.records()], ["a@client.test"])


class Binary(ChunkCase):
    def test_kept_as_it_is(self):
        self.start()
        wire = self.wire()
        content = HEAD + bytes(range(256)) * 300 + b"\n\r\r" + b"x" * 100_000
        self.envelope(wire, " BODY=BINARYMIME")
        self.assertRegex(wire.ask("DATA"), "^503 5.5.1")
        wire.send(bdat(content[:1000]) + bdat(content[1000:], last=True))
        self.assertEqual([wire.reply(), wire.reply()], ["250 2.0.0 Ok", "250 2.0.0 Ok 0"])
        self.envelope(wire, " BODY=BINARYMIME")
        wire.send(bdat(HEAD + b"text\r\n", last=True))
        self.assertEqual(wire.reply(), "250 2.0.0 Ok 1")
        self.assertEqual(self.log.as_received(0), content)
        records = self.log.records()
        self.assertEqual([r["body_type"] for r in records], ["binarymime"] * 2)
        self.assertEqual([r["binary"] for r in records], [True, False])

    def test_never_in_the_header(self):
        """Readers differ on where such a line ends: a From could hide there."""
        self.start()
        wire = self.wire()
        for head in (b"From: a@client.test\nFrom: b@bank.test\r\n\r\n",
                     b"Subject: x\ry\r\n\r\n", b"Subject: x\0y\r\n\r\n"):
            self.envelope(wire, " BODY=BINARYMIME")
            wire.send(bdat(head + b"a\nb", last=True))
            self.assertRegex(wire.reply(), r"^550 5\.5\.2", head)
        self.assertEqual(self.log.records(), [])

    def test_leaves_only_where_it_fits(self):
        self.start()
        wire = self.wire()
        self.envelope(wire, " BODY=BINARYMIME")
        wire.send(bdat(HEAD + b"a\nFrom b\r\0", last=True))
        self.assertRegex(wire.reply(), "^250")
        self.assertRegex(wire.message(HEAD + b"text\r\n"), "^250")
        for form, exported in (("mbox", 1), ("maildir", 1), ("eml", 2), ("jsonl", 2)):
            done = subprocess.run(
                [BINARY, "log", "export", self.log.directory, "--format", form, "--json",
                 "--out", f"{self.directory}/out.{form}"], capture_output=True, timeout=60,
                text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            result = json.loads(done.stdout)
            self.assertEqual((result["records"], result["left_out"]), (exported, 2 - exported))
            self.assertEqual("1 message left out" in done.stderr, exported == 1)


class Syntax(ChunkCase):
    def test_from_line(self):
        self.start()
        wire = self.wire()
        message = b"From a@client.test Mon Nov 30 12:00:00 2026\r\n" + HEAD + b"x\r\n"
        self.assertEqual(wire.message(message), "250 2.0.0 Ok 0")
        self.envelope(wire)
        wire.send(bdat(message, last=True))
        self.assertEqual(wire.reply(), "250 2.0.0 Ok 1")
        field = b"From : a@client.test\r\nSubject: x\r\n\r\ny\r\n"
        self.assertEqual(wire.message(field), "250 2.0.0 Ok 2")
        for offset in (0, 1):
            self.assertEqual(self.log.as_received(offset), message)
            delivered = self.log.delivered(offset)
            self.assertTrue(delivered.endswith(b"\r\n" + HEAD + b"x\r\n"), delivered)
            self.assertNotIn(b"From a@client.test Mon", delivered)
        self.assertTrue(self.log.delivered(2).endswith(field))

    def test_no_header(self):
        for allowed in (False, True):
            self.start(syntax={"no_header": allowed},
                       auth={"spf": True, "dkim": True, "dmarc": True, "on_no_author": "accept"},
                       dns={"servers": ["127.0.0.1:9"], "timeout": "100ms"})
            with Wire(self.server.address) as wire:
                wire.hello()
                answer = wire.message(b"Door 3 open since 12:00\r\n")
                self.assertRegex(answer, "^250" if allowed else r"^550 5\.6\.0")
                # Not when a field stands above it: what comes after it could hide another.
                self.assertRegex(wire.message(b"A: b\r\nno field\r\nFrom: x@y.test\r\n\r\n"),
                                 r"^550 5\.6\.0")
            self.server.stop()

    def test_hello_names_in_trace_fields(self):
        self.start()
        names = [b"(none)", b"my host", b"M\xdcLLER-PC", b"a;b\\c\"d<e>", b"x) by bank.test (y",
                 b"M\xc3\x9cLLER-PC"]
        for name in names:
            with Wire(self.server.address) as wire:
                wire.send(b"EHLO " + name + b"\r\n")
                self.assertRegex(wire.reply(), "^250")
                self.assertRegex(wire.message(HEAD), "^250")
        for offset in range(len(names)):
            received = re.search(rb"Received: from (\S+) \(\[127\.0\.0\.1\]\)\r\n\tby ",
                                 self.log.delivered(offset))
            self.assertTrue(received, self.log.delivered(offset))
            self.assertRegex(received[1], rb"^[!-~]+$")
            self.assertNotRegex(received[1], rb"[()<>;\\\"]")
        self.assertEqual([r["client"]["helo"] for r in self.log.records()][:2], ["(none)", "my host"])


class Patience(ChunkCase):
    def test_a_command_from_its_first_byte(self):
        self.start(limits={"command_wait": "30s", "command_time": "2s", "command_time_short": "1s"})
        wire = self.wire()
        began = time.monotonic()
        with self.assertRaises((AssertionError, OSError)):
            for _ in range(40):
                wire.send(b"x")
                time.sleep(0.25)
                wire.socket.settimeout(0.01)
                try:
                    self.assertEqual(wire.socket.recv(100), b"")
                    raise ConnectionError
                except TimeoutError:
                    pass
        self.assertGreater(time.monotonic() - began, 1.9)
        self.assertLess(time.monotonic() - began, 6)

    def test_silence_within_a_message(self):
        self.start(limits={"data_silence": "2s", "data_silence_all": "3s", "data_gap": "500ms",
                           "data_rate": "500"})
        wire = self.wire()
        self.envelope(wire)
        self.assertRegex(wire.ask("DATA"), "^354")
        wire.send(HEAD)
        time.sleep(1.2)
        wire.send(b"x\r\n")
        time.sleep(1.2)
        wire.send(b"x\r\n.\r\n")
        self.assertRegex(wire.reply(), "^250")
        self.envelope(wire)
        self.assertRegex(wire.ask("DATA"), "^354")
        wire.send(HEAD)
        began = time.monotonic()
        self.assertRegex(wire.reply(), r"^421 4\.4\.2 Timed out waiting for the message")
        self.assertGreater(time.monotonic() - began, 1.9)

    def test_commands_without_mail(self):
        self.start(limits={"commands_without_mail": 20})
        wire = self.wire()
        for _ in range(19):
            self.assertRegex(wire.ask("NOOP"), "^250")
        self.assertRegex(wire.message(HEAD), "^250")
        for _ in range(20):
            self.assertRegex(wire.ask("RSET"), "^250")
        self.assertRegex(wire.ask("NOOP"), r"^421 4\.7\.0")
        self.assertTrue(wire.at_end())


if __name__ == "__main__":
    mxtest.main()
