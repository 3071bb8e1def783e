"""Limits as a client sees them: the reply, and whether the connection goes on."""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.error

import mxtest
from mxtest import Log, Wire, sample_message


class LimitCase(mxtest.TestCase):
    def start(self, limits=None, **sections):
        self.server = self.serve({"limits": dict(limits or {}), **sections})
        self.log = Log(self.server.log_dir)
        return self.server

    def wire(self):
        wire = Wire(self.server.address)
        self.addCleanup(wire.close)
        wire.hello()
        return wire

    def envelope(self, wire, sender="a@client.test", recipient="b@mx.test"):
        self.assertRegex(wire.ask(f"MAIL FROM:<{sender}>"), "^250")
        self.assertRegex(wire.ask(f"RCPT TO:<{recipient}>"), "^250")


class Messages(LimitCase):
    def test_size_announced_and_not(self):
        self.start({"message_size": "200KiB"})
        wire = self.wire()
        self.assertRegex(wire.ask("MAIL FROM:<a@client.test> SIZE=204801"), r"^552 5\.3\.4")
        self.assertRegex(wire.ask("MAIL FROM:<a@client.test> SIZE=204800"), r"^250")
        self.assertRegex(wire.ask("RSET"), "^250")
        self.assertRegex(wire.message(sample_message(1_000_000)), r"^552 5\.3\.4")
        message = sample_message(150_000)
        self.assertEqual(wire.message(message), "250 2.0.0 Ok 0")
        self.assertEqual(self.log.as_received(0), message)

    def test_exactly_the_limit(self):
        message = sample_message(180_000)
        self.start({"message_size": len(message)})
        wire = self.wire()
        self.assertRegex(wire.message(message), "^250")
        self.assertRegex(wire.message(message + b"\r\n"), r"^552 5\.3\.4")

    def test_bare_line_ends_and_nul(self):
        self.start()
        wire = self.wire()
        head = sample_message(300)
        for bad in (b"bare\nline feed\r\n", b"bare\rreturn\r\n", b"nul\0byte\r\n"):
            self.assertRegex(wire.message(head + bad), r"^550 5\.5\.2", bad)
        self.assertRegex(wire.message(head), "^250 2.0.0 Ok 0$")

    def test_line_header_and_fields(self):
        self.start({"header_size": "8KiB", "header_fields": 60, "received_fields": 10})
        wire = self.wire()
        message = sample_message(300)
        self.assertRegex(wire.message(message + b"x" * 70_000 + b"\r\n"), r"^550 5\.6\.0")
        many = b"".join(b"X-N: %d\r\n" % i for i in range(60))
        self.assertRegex(wire.message(many + message), r"^552 5\.3\.4")
        long = b"X-Long: a\r\n" + b" continued\r\n" * 1000
        self.assertRegex(wire.message(long + message), r"^552 5\.3\.4")
        loop = b"Received: from a by b; Sun, 22 Nov 2026 01:02:03 +0000\r\n" * 11
        self.assertRegex(wire.message(loop + message), r"^554 5\.4\.6")
        self.assertRegex(wire.message(message), "^250 2.0.0 Ok 0$")

    def test_from_field(self):
        # Nobody answers there: the verdict is open, the rule about From is not.
        self.start(auth={"dmarc": True}, dns={"servers": ["127.0.0.1:1"]})
        wire = self.wire()
        for bad in (b"Subject: none\r\n\r\nx\r\n",
                    b"From: a@b.test\r\nFrom: c@d.test\r\n\r\nx\r\n",
                    b"From: a@b.test, c@d.test\r\n\r\nx\r\n"):
            self.assertRegex(wire.message(bad), r"^550 5\.6\.0", bad)

    def test_recipients(self):
        self.start({"recipients": 100}, recipients={"domains": ["mx.test"]})
        wire = self.wire()
        self.assertRegex(wire.ask("MAIL FROM:<a@client.test>"), "^250")
        self.assertRegex(wire.ask("RCPT TO:<b@elsewhere.test>"), r"^550 5\.7\.1")
        # Pipelined, half of them refused, answered in order.
        wire.send("".join(f"RCPT TO:<u{i}@{'mx' if i % 2 else 'no'}.test>\r\n" for i in range(100)))
        replies = [wire.reply()[:9] for _ in range(100)]
        self.assertEqual(replies, ["550 5.7.1", "250 2.1.5"] * 50)
        for i in range(50):
            self.assertRegex(wire.ask(f"RCPT TO:<v{i}@mx.test>"), "^250")
        self.assertRegex(wire.ask("RCPT TO:<w@mx.test>"), r"^452 4\.5\.3")
        self.assertRegex(wire.ask("RCPT TO:<postmaster>"), r"^452 4\.5\.3")

    def test_recipient_domains_in_any_script(self):
        self.start(recipients={"domains": ["xn--kln-sna.test", "B\u00fccher.test"]})
        wire = self.wire()
        self.assertRegex(wire.ask("MAIL FROM:<a@client.test> SMTPUTF8"), "^250")
        for domain in ("k\u00f6ln.test", "K\u00d6LN.test", "XN--KLN-SNA.test", "xn--bcher-kva.test",
                       "b\u00fccher.TEST"):
            self.assertRegex(wire.ask(f"RCPT TO:<a@{domain}>"), "^250", domain)
        for domain in ("koln.test", "k\u00f6ln.example", "a\u2100b.test"):
            self.assertRegex(wire.ask(f"RCPT TO:<a@{domain}>"), r"^550 5\.7\.1", domain)


class Connections(LimitCase):
    def test_messages_on_one(self):
        self.start({"messages_per_connection": 3})
        wire = self.wire()
        for _ in range(3):
            self.assertRegex(wire.message(sample_message()), "^250")
        self.assertRegex(wire.message(sample_message()), r"^421 4\.7\.0")
        self.assertTrue(wire.at_end())

    def test_in_all(self):
        self.start({"connections": 4, "connections_per_ip": 4})
        held = [self.wire() for _ in range(4)]
        with Wire(self.server.address) as fifth:
            self.assertRegex(fifth.banner, r"^421 4\.7\.0")
            self.assertTrue(fifth.at_end())
        held[0].ask("QUIT")

        def admitted():
            with Wire(self.server.address) as wire:
                return wire.banner.startswith("220")
        mxtest.wait_until(admitted, 5, "a place is free again")

    def test_fewer_files_than_connections(self):
        # The log rolls while clients hold all the descriptors they can get.
        files = 400
        self.server = self.serve(
            {"limits": {"message_size": "2MiB"}, "log": {"segment_bytes": "4MiB"}},
            prefix=["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh"])
        said = re.search(r"limits\.connections is (\d+) instead of 20000", self.server.stderr())
        self.assertTrue(said, self.server.stderr())
        most = int(said[1])
        self.assertLess(most, files)
        held = [self.wire() for _ in range(most)]
        for _ in range(files):
            with Wire(self.server.address) as another:
                self.assertRegex(another.banner, r"^421 4\.7\.0")
        for i in range(12):
            self.assertEqual(held[i].message(sample_message(1_000_000)), f"250 2.0.0 Ok {i}")
        self.assertEqual(self.server.stop(), 0)
        self.assertGreater(len(Log(self.server.log_dir).info()["segments"]), 2)

    def test_command_line(self):
        self.start()
        wire = self.wire()
        self.assertRegex(wire.ask("NOOP " + "x" * 600), r"^500 5\.5\.2")
        self.assertRegex(wire.ask("NOOP"), "^250")
        wire.send("NOOP " + "x" * 70_000 + "\r\n")
        self.assertRegex(wire.reply(), r"^500 5\.5\.2")
        self.assertTrue(wire.at_end())

    def test_errors(self):
        self.start({"errors_soft": 3, "errors_hard": 6, "error_delay": "200ms"})
        wire = self.wire()
        begin = time.monotonic()
        replies = []
        for _ in range(6):
            replies.append(wire.ask("NONSENSE"))
            if replies[-1].startswith("421"):
                break
        self.assertRegex(replies[-1], r"^421 4\.7\.0")
        self.assertTrue(all(r.startswith("500") for r in replies[:-1]), replies)
        self.assertGreater(time.monotonic() - begin, 0.35)
        self.assertTrue(wire.at_end())

    def test_silence(self):
        self.start({"command_wait": "700ms"})
        wire = self.wire()
        begin = time.monotonic()
        self.assertRegex(wire.reply(), r"^421 4\.4\.2")
        self.assertGreater(time.monotonic() - begin, 0.5)
        self.assertTrue(wire.at_end())

    def test_dribbled_data(self):
        self.start({"data_rate": 500, "data_rate_window": "1s"})
        wire = self.wire()
        self.envelope(wire)
        self.assertRegex(wire.ask("DATA"), "^354")
        end = time.monotonic() + 15
        wire.socket.settimeout(0.1)
        while time.monotonic() < end:
            try:
                wire.send("x")
                reply = wire.reply()
                break
            except socket.timeout:
                continue
        self.assertRegex(reply, r"^421 4\.4\.2")
        self.assertEqual(self.log.records(), [])

    def test_end_of_data_at_a_tick_of_the_rate(self):
        # The rate is looked at six times a window.
        self.start({"data_rate": 0, "data_rate_window": "600ms"})
        refused = mxtest.stuffed(sample_message(300) + b"bare\nline feed\r\n")
        wires = [self.wire() for _ in range(8)]
        for wire in wires:
            self.envelope(wire)
            self.assertRegex(wire.ask("DATA"), "^354")
        # While the server stands still, the data ends and the moment passes.
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            for wire in wires:
                wire.send(refused)
            time.sleep(0.3)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)
        for wire in wires:
            self.assertRegex(wire.reply(), r"^550 5\.5\.2")

    def test_talking_before_the_banner(self):
        self.start()
        # Connected while the server is stopped, these bytes are there before it can greet.
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            wire = Wire(self.server.address, greet=False)
            self.addCleanup(wire.close)
            wire.send("EHLO early.test\r\n")
        finally:
            os.kill(self.server.pid, signal.SIGCONT)
        self.assertRegex(wire.reply(), r"^554 5\.5\.0")
        self.assertTrue(wire.at_end())

    def test_data_before_354(self):
        self.start()
        wire = self.wire()
        self.envelope(wire)
        wire.send(b"DATA\r\n" + mxtest.stuffed(sample_message()))
        self.assertRegex(wire.reply(), r"^554 5\.5\.0")
        self.assertTrue(wire.at_end())
        self.assertEqual(self.log.records(), [])


def silent_about(test, word):
    """The address of a name server that knows no name, and gives no answer about some."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def answer():
        with contextlib.suppress(OSError):
            while True:
                query, client = server.recvfrom(4096)
                if word not in query.lower():
                    server.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) +
                                  query[12:query.index(b"\0", 12) + 5], client)

    threading.Thread(target=answer, daemon=True).start()
    test.addCleanup(server.close)
    return "127.0.0.1:%d" % server.getsockname()[1]


class Memory(LimitCase):
    """Message memory runs short: who pauses, who goes on, and what each is told."""

    # Of one shard. With 256 buffers on offer, less than half of it free is "short"; with 8, less
    # than a sixteenth.
    MEMORY = {"memory": "16MiB", "message_size": "8MiB"}

    def start(self, limits=None, **sections):
        sections.setdefault("shards", {"count": 1})
        return super().start({**self.MEMORY, **(limits or {})}, **sections,
                             listen={"admin": "127.0.0.1:0"})

    def counter(self, name):
        return json.loads(self.server.http("/status"))[name]

    def begun(self, sent=0, wire=None):
        """A client in the middle of its message."""
        wire = wire or self.wire()
        self.envelope(wire)
        self.assertRegex(wire.ask("DATA"), "^354")
        if sent:
            before = self.counter("received_bytes_total")
            wire.send(b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * (sent // 72))
            mxtest.wait_until(
                lambda: self.counter("received_bytes_total") - before > 0.98 * sent, 20, "received")
        return wire

    def go_on_until_paused(self, wire):
        before = self.counter("read_pauses_total")
        wire.send(b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * (3 << 14))
        mxtest.wait_until(lambda: self.counter("read_pauses_total") > before, 20, "paused")

    def test_a_message_that_ends_while_it_pauses(self):
        self.start({"command_wait": "5s"})
        holders = [self.begun(6 << 20)]
        small = self.begun()
        holders.append(self.begun())
        self.go_on_until_paused(holders[1])
        # In one go, so that the pause and the end of the message fall into the same turn.
        small.send(mxtest.stuffed(sample_message(120_000)))
        self.assertRegex(small.reply(), "^250 2.0.0 Ok")
        self.assertRegex(small.ask("NOOP"), "^250")
        for wire in holders:
            wire.close()
        mxtest.wait_until(lambda: self.counter("connections_closed_total") == 2, 20, "both gone")
        self.assertRegex(small.message(sample_message(120_000)), "^250 2.0.0 Ok")
        small.close()
        mxtest.wait_until(lambda: self.counter("connections_closed_total") ==
                          self.counter("connections_accepted_total"), 20, "all gone")

    def test_commands_behind_an_evicted_message(self):
        self.start({"memory_wait": "1s"}, auth={"dkim": True},
                   dns={"servers": [silent_about(self, b"silent")]})
        waiting = self.begun()
        paused = self.begun()
        digest = base64.b64encode(bytes(32))
        waiting.send(b"DKIM-Signature: v=1; a=rsa-sha256; d=silent.test; s=s; h=From; b=AAAA;"
                     b" bh=" + digest + b"\r\n" + mxtest.stuffed(sample_message(6 << 20)) +
                     b"NOOP\r\nMAIL FROM:<a@client.test>\r\n")
        # The smaller one cannot go on; after a second the larger, which does not move, is given up.
        self.go_on_until_paused(paused)
        self.assertRegex(waiting.reply(), r"^452 4\.3\.1")
        self.assertRegex(waiting.reply(), "^250")
        self.assertRegex(waiting.reply(), "^(250|452)")
        paused.send(b"\r\n.\r\n")
        self.assertRegex(paused.reply(), "^250 2.0.0 Ok")

    def test_no_buffer_does_not_end_a_pause(self):
        self.start({"memory_wait": "60s"}, shards={"count": 1, "buffers_offered": 8})
        holders = [self.begun(6 << 20), self.begun(6 << 20)]
        paused = self.counter("read_pauses_total")
        more = self.begun()
        more.socket.setblocking(False)
        before = self.counter("received_bytes_total")
        end = time.monotonic() + 2
        sent = 0
        while time.monotonic() < end and sent < 7 << 20:
            try:
                sent += more.socket.send((b"z" * 70 + b"\r\n") * 900)
            except BlockingIOError:
                time.sleep(0.01)
        time.sleep(0.3)
        self.assertGreater(self.counter("read_pauses_total"), paused)
        self.assertEqual(self.counter("memory_evictions_total"), 0)
        # 3 MiB were left when it began, and a turn may bring a little more before it pauses.
        self.assertLess(self.counter("received_bytes_total") - before, 5 << 20)
        for wire in holders:
            wire.close()


class Disk(LimitCase):
    def test_reserve(self):
        # No file system keeps ninety-nine percent free under a checkout.
        self.start({"disk_reserve_percent": 99})
        wire = self.wire()
        self.assertRegex(wire.ask("MAIL FROM:<a@client.test>"), r"^452 4\.3\.1")
        self.assertRegex(wire.ask("NOOP"), "^250")

    def test_reserve_is_said(self):
        server = self.serve({"limits": {"disk_reserve_percent": 99},
                             "listen": {"smtp": ["127.0.0.1:0"], "admin": "127.0.0.1:0"}})
        why = (rf"{re.escape(server.log_dir)}: [0-9.]+ \w+ free, below the reserve of [0-9.]+ \w+ "
               r"\(limits\.disk_reserve_percent = 99 of [0-9.]+ \w+\); mail is put off with "
               r"452 4\.3\.1 until there is room")
        lines = [line for line in server.stderr().splitlines() if "reserve" in line]
        self.assertEqual(len(lines), 1, lines)  # said before the ready line
        self.assertRegex(lines[0], "^mxring: warning: " + why + "$")
        status = json.loads(server.http("/status"))
        self.assertIs(status["accepting"], False)
        self.assertRegex(status["reason"], f"^{why}$")
        self.assertIn("\nmxring_accepting 0\n", server.http("/metrics"))
        with self.assertRaises(urllib.error.HTTPError) as caught:
            server.http("/healthz")
        self.assertEqual(caught.exception.code, 503)
        self.assertRegex(caught.exception.read().decode(), f"^not accepting mail: {why}\n$")


if __name__ == "__main__":
    mxtest.main()
