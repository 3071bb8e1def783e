"""Clients that make a shard keep as much as they can, beside one that only sends mail.

Whatever they hold (envelopes, records that never end, replies that nobody reads, messages that
dribble), the process stays inside limits.memory, the good client is served, and its one large
message goes through. The others are cut off, the greediest address first.

MXRING_SOAK_CONNECTIONS=20000 makes the crowd as large as the server takes.
"""

import contextlib
import json
import os
import resource
import socket
import ssl
import threading
import time

import mxtest
from mxtest import Log, sample_message

MIB = 1 << 20
CROWD = int(os.environ.get("MXRING_SOAK_CONNECTIONS", "600"))


def connect(address, source):
    """Many addresses of loopback are many clients."""
    return socket.create_connection(address, timeout=20, source_address=(source, 0))


def read_until(raw, text, limit=1 << 20):
    seen = b""
    while text not in seen and b"\n4" not in seen and len(seen) < limit:
        chunk = raw.recv(65536)
        if not chunk:
            break
        seen += chunk
    return seen


class Hostile(mxtest.TestCase):
    MEMORY = 48 * MIB
    # Beside the limit: buffers on offer to the kernel (8 of 16 KiB), code, the log's own memory.
    BESIDE = 24 * MIB

    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.server = self.serve({
            "listen": {"smtp": ["127.0.0.1:0"], "smtps": ["127.0.0.1:0"], "admin": "127.0.0.1:0"},
            "shards": {"count": 1, "buffers_offered": 8},
            "limits": {"memory": f"{self.MEMORY >> 20}MiB", "message_size": "8MiB",
                       "memory_wait": "3s", "drain": "1s"}})
        host, port = self.server.ready["smtps"].rsplit(":", 1)
        self.tls_address = (host, int(port))
        self.log = Log(self.server.log_dir)
        self.before = self.server.memory_bytes()
        self.most = 0
        self.open = []
        self.addCleanup(lambda: [raw.close() for raw in self.open])

    def counter(self, name):
        return json.loads(self.server.http("/status"))[name]

    def attacker(self, address, source):
        """One that has heard the banner, where it comes in the clear."""
        raw = connect(address, source)
        self.open.append(raw)
        raw.settimeout(1)
        if address == self.server.address:
            read_until(raw, b"220 ")
        return raw

    def look(self):
        self.most = max(self.most, self.server.memory_bytes())

    def good(self, size=20_000):
        with mxtest.Wire(self.server.address) as wire:
            wire.hello()
            return wire.message(sample_message(size))

    def good_in_the_end(self, seconds=15):
        """Mail may be put off while memory is short, but not for long."""
        answers = []

        def accepted():
            try:
                answers.append(self.good())
            except OSError as error:
                answers.append(str(error))
            return answers[-1].startswith("250")

        mxtest.wait_until(accepted, seconds, f"mail is accepted again: {answers[-3:]}")
        for answer in answers[:-1]:
            self.assertRegex(answer, r"^4[25]\d")

    def finish(self, evicted=True):
        self.look()
        print(f"{(self.most - self.before) / MIB:.0f} MiB held at most, "
              f"{self.counter('memory_evictions_total')} evictions")
        self.assertLess(self.most - self.before, self.MEMORY + self.BESIDE)
        if evicted:
            self.assertGreater(self.counter("memory_evictions_total"), 0)
        self.assertEqual(self.server.stop(), 0)

    def test_envelopes(self):
        recipient = (b"RCPT TO:<" + b"x" * 200 + b"@" + b".".join([b"d" * 60] * 3) +
                     b".example> ORCPT=rfc822;" + b"o" * 480 + b" NOTIFY=SUCCESS\r\n")
        for i in range(60):
            try:
                raw = self.attacker(self.server.address, "127.0.0.2")
                raw.sendall(b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n")
                read_until(raw, b"250 2.1.0")
                for _ in range(10):
                    raw.sendall(recipient * 100)
                    read_until(raw, b"250 2.1.5 Ok\r\n" * 1)
            except OSError:
                pass  # cut off
            if i % 5 == 0:
                self.look()
        self.good_in_the_end()
        self.assertRegex(self.server.http("/metrics"),
                         r'mxring_refusals_total\{reply="421 4\.3\.2"\} [1-9]')
        self.finish()

    def test_records_that_never_end(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        large = self.slow_large_message()
        for i in range(CROWD):
            try:
                raw = self.attacker(self.tls_address, "127.0.0.3")
                with context.wrap_socket(raw.dup(), do_handshake_on_connect=True) as wrapped:
                    wrapped.read(1000)
                    raw.sendall(b"\x17\x03\x03\x40\x11" + b"a" * 8900)
                    time.sleep(0)
                    raw.sendall(b"b" * 7400)
            except OSError:
                pass
            if i % 20 == 0:
                self.look()
        self.good_in_the_end()
        self.assertRegex(large(), "^250 2.0.0 Ok")
        self.finish()

    def test_who_reads_nothing(self):
        hellos = b"EHLO c.example\r\n" * 5000
        for i in range(CROWD):
            raw = connect(self.server.address, "127.0.0.4")
            self.open.append(raw)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            raw.setblocking(False)
            with contextlib.suppress(OSError):
                raw.send(hellos)
            if i % 20 == 0:
                self.look()
        end = time.monotonic() + 2
        while time.monotonic() < end:
            for raw in self.open:
                with contextlib.suppress(OSError):
                    raw.send(hellos)
            self.look()
        self.good_in_the_end()
        self.finish(evicted=False)

    def slow_large_message(self):
        """One honest message, 7 MiB in four seconds; gives a function that waits for the reply."""
        wire = mxtest.Wire(self.server.address, timeout=60)
        self.open.append(wire.socket)
        wire.hello()
        for command in ("MAIL FROM:<large@client.test>", "RCPT TO:<b@mx.test>", "DATA"):
            self.assertRegex(wire.ask(command), "^250|^354")
        content = b"From: large@client.test\r\n\r\n" + (b"x" * 70 + b"\r\n") * 100_000 + b".\r\n"
        answers = []

        def send():
            try:
                for at in range(0, len(content), len(content) // 80):
                    wire.send(content[at:at + len(content) // 80])
                    time.sleep(0.05)
                answers.append(wire.reply())
            except OSError as error:
                answers.append(str(error))

        thread = threading.Thread(target=send)
        thread.start()

        def wait():
            thread.join(60)
            return answers[0] if answers else "no reply"
        return wait

    def test_messages_of_many_clients_that_dribble(self):
        """The large one comes from the address that holds most in sum, and is honest."""
        large = self.slow_large_message()
        for i in range(CROWD // 2):
            try:
                raw = self.attacker(self.server.address, f"127.0.{1 + i // 200}.{1 + i % 200}")
                raw.sendall(b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.test>\r\n")
                read_until(raw, b"250 2.1.5")
                raw.sendall(b"DATA\r\n")
                raw.setblocking(False)
                raw.send(b"From: a@c.example\r\n\r\n" + b"x" * 70 + b"\r\n" +
                         (b"y" * 998 + b"\r\n") * 200)
            except OSError:
                pass
            if i % 20 == 0:
                self.look()
        self.assertRegex(large(), "^250 2.0.0 Ok")
        self.good_in_the_end()
        self.finish(evicted=False)  # they wait, or hear 452 at MAIL


class Crowd(mxtest.TestCase):
    """As many connections as the configuration allows, all of which mean harm, on default limits:
    the receiver stays inside what it was told, and still takes mail.

    `MXRING_SOAK_CONNECTIONS=20000` needs as many descriptors on both sides, which root may have.
    """

    MEMORY = 64 * MIB

    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = CROWD + 1000
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        except (OSError, ValueError):
            self.skipTest(f"{CROWD} connections need {wanted} descriptors; there are {hard}")
        # Only root may go up again, and then the limit of this process matters to nobody.
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE,
                        (min(soft, max(hard, wanted)), max(hard, wanted)))
        self.server = self.serve({
            "listen": {"smtp": ["127.0.0.1:0"], "smtps": ["127.0.0.1:0"], "admin": "127.0.0.1:0"},
            "shards": {"count": 2},
            "limits": {"memory": f"{self.MEMORY >> 20}MiB", "message_size": "8MiB",
                       "connections": CROWD, "connections_per_ip": 50, "drain": "1s"}})
        host, port = self.server.ready["smtps"].rsplit(":", 1)
        self.tls_address = (host, int(port))
        self.open = []
        self.addCleanup(lambda: [raw.close() for raw in self.open])

    def silent(self, source):
        return connect(self.server.address, source)

    def half_a_command(self, source):
        raw = self.silent(source)
        read_until(raw, b"220 ")
        raw.sendall(b"EHLO c.example\r\nMAIL FROM:<" + b"a" * 400)
        return raw

    def half_a_message(self, source):
        raw = self.silent(source)
        read_until(raw, b"220 ")
        raw.sendall(b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.test>\r\n")
        read_until(raw, b"250 2.1.5")
        raw.sendall(b"DATA\r\n")
        read_until(raw, b"354 ")
        raw.sendall(b"From: a@c.example\r\n\r\n" + b"x" * 3000)
        return raw

    def many_recipients(self, source):
        raw = self.silent(source)
        read_until(raw, b"220 ")
        raw.sendall(b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n" +
                    b"".join(b"RCPT TO:<r%d@mx.test>\r\n" % i for i in range(40)))
        return raw

    def half_a_handshake(self, source):
        raw = connect(self.tls_address, source)
        raw.sendall(b"\x16\x03\x01\x20\x00\x01\x00\x1f\xfc" + b"h" * 4000)
        return raw

    def test_all_of_them_at_once(self):
        kinds = [self.silent, self.half_a_command, self.half_a_message, self.many_recipients,
                 self.half_a_handshake]
        before, most, refused = self.server.memory_bytes(), 0, 0
        for i in range(CROWD):
            client = i // 50  # as many as one address may have
            try:
                self.open.append(kinds[i % len(kinds)](f"127.1.{client // 250}.{1 + client % 250}"))
            except OSError:
                refused += 1
            if i % 500 == 0:
                most = max(most, self.server.memory_bytes())
        most = max(most, self.server.memory_bytes())
        status = json.loads(self.server.http("/status"))
        there = status["connections_accepted_total"] - status["connections_closed_total"]
        held = (most - before) / MIB
        print(f"{CROWD} connections, {refused} refused while connecting, {there} there; "
              f"{held:.1f} MiB, {held * 1024 / CROWD:.2f} KiB each")
        # Two shards' limit, and what idle connections are allowed to cost beside it.
        self.assertLess(held, (2 * self.MEMORY >> 20) + 24 + CROWD * 4 / 1024)
        self.assertLess(refused, CROWD // 100 + 1)
        self.assertGreater(there, CROWD * 9 // 10)

        def taken():
            for raw in self.open[:50]:
                raw.close()
            del self.open[:50]
            with contextlib.suppress(OSError):
                with mxtest.Wire(self.server.address) as wire:
                    wire.hello()
                    return wire.message(sample_message(20_000)).startswith("250")
            return False

        mxtest.wait_until(taken, 60, "mail is taken as soon as there is a place")
        self.assertEqual(self.server.stop(), 0)


if __name__ == "__main__":
    mxtest.main()
