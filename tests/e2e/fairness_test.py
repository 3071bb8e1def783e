"""How much a good client's latency moves while twelve connections send what costs the server most.

Windows with and without the attack alternate in one run; the figure is the ratio of the p99 of all
windows of each kind. The machine's own noise moves it as well, so the best of some runs counts.
MXRING_FAIRNESS_SECONDS=10 makes the windows longer and tries every kind of hostile mail.
"""

import json
import multiprocessing
import os
import select
import socket
import subprocess

import mxtest
import worst_mails
from odd_resolver import OddResolver

HOSTILE = 12
TIMES = 2.0
LONG = float(os.environ.get("MXRING_FAIRNESS_SECONDS", "0"))
SECONDS = LONG or 1
ROUNDS = 3


def median(figures):
    return sorted(figures)[len(figures) // 2]


class Attacker:
    """One hostile connection: a message after the other, never waiting longer than it must."""

    def __init__(self, address, number):
        self.address, self.count, self.number = address, 0, number
        self.socket = None

    def connect(self):
        self.socket = socket.create_connection(self.address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard, self.out, self.waits_for = b"", b"EHLO bad.test\r\n", b"250 HELP"
        while b"220 " not in self.socket.recv(4096):
            pass
        self.socket.setblocking(False)

    def next(self, message):
        self.count += 1
        count = b"%08d" % (self.number * 100_000 + self.count)
        own = worst_mails.COUNTER in message
        sender = b"%s@%s.wide.test" % (count, count) if own else worst_mails.SENDER.encode()
        self.heard, self.waits_for = b"", None
        self.out = (b"MAIL FROM:<%s>\r\nRCPT TO:<b@mx.test>\r\nBDAT %d LAST\r\n" %
                    (sender, len(message)) + message.replace(worst_mails.COUNTER, count))

    def turn(self, message):
        try:
            if self.out:
                self.out = self.out[self.socket.send(self.out):]
            part = self.socket.recv(65536)
            if not part:
                raise ConnectionError("closed")
            self.heard += part
        except BlockingIOError:
            pass
        lines = self.heard.count(b"\r\n")
        if not self.out and (lines >= 3 if self.waits_for is None else self.waits_for in self.heard):
            self.next(message)
            self.turn(message)


def attack(address, message, going, done):
    """All hostile connections, in a process that takes only what processor time others leave."""
    os.nice(19)
    os.setsid()
    try:  # where sessions are scheduled as groups, niceness counts within one only
        with open("/proc/self/autogroup", "w") as group:
            group.write("19")
    except OSError:
        pass
    attackers = [Attacker(address, i) for i in range(HOSTILE)]
    sent = 0
    while True:
        if not going.is_set():
            done.value = sent
            going.wait()
        for attacker in attackers:
            try:
                if attacker.socket is None:
                    attacker.connect()
                attacker.turn(message)
            except OSError:
                attacker.socket = None
        live = [a for a in attackers if a.socket is not None]
        select.select([a.socket for a in live], [a.socket for a in live if a.out], [], 0.01)
        sent = sum(a.count for a in attackers)


class Fairness(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        self.maker = worst_mails.Maker(self.directory)
        resolver = OddResolver(self.maker.zone)
        self.addCleanup(resolver.stop)
        self.server = self.serve({
            "listen": {"smtp": ["127.0.0.1:0"]}, "dns": {"servers": [resolver.address]},
            "auth": {"spf": True, "dkim": True, "dmarc": True}, "shards": {"count": 1},
            
            # What the disk does is no matter of clients.
            "log": {"retain_bytes": "128MiB", "sync": "none"}, "journal": {"to": ""},
            "limits": {"messages_per_connection": 1_000_000}})

    def good(self):
        done = subprocess.run(
            [mxtest.BINARY, "load", f"127.0.0.1:{self.server.port}", "--connections", "8",
             "--rate", "200/s", "--duration", f"{SECONDS}s", "--size", "4KiB", "--json"],
            capture_output=True, text=True, check=False, timeout=SECONDS + 60)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(found["accepted"], found["sent"], found)
        return found["latency_us"]["p99"]

    def ratio(self, message):
        """p99 with the attack in p99 without, and what each was in its windows."""
        context = multiprocessing.get_context("fork")
        going, done = context.Event(), context.Value("q", 0)
        process = context.Process(target=attack, args=(self.server.address, message, going, done),
                                  daemon=True)
        process.start()
        alone, among = [], []
        try:
            for _ in range(ROUNDS):
                going.clear()
                alone.append(self.good())
                going.set()
                among.append(self.good())
        finally:
            process.kill()
            process.join()

        return median(among) / median(alone), alone, among, done.value

    def test_twelve_hostile_connections(self):
        mails = list(worst_mails.hostile())
        over, noisy = [], []
        for name, message in mails if LONG else mails[:1]:
            best = None
            for _ in range(3):
                found = self.ratio(message)
                if best is None or found[0] < best[0]:
                    best = found
                if best[0] <= TIMES:
                    break
            ratio, alone, among, sent = best
            print(f"{name:<56} {ratio:5.1f} times; p99 alone {alone}, among {among} us; "
                  f"{sent} hostile messages", flush=True)
            self.assertGreater(sent, HOSTILE, "the attackers got nothing through")
            if ratio > TIMES:
                (noisy if max(alone) > TIMES * min(alone) else over).append(name)
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(over, [], "moved the p99 of a good client by more than allowed")
        if noisy:
            self.skipTest(f"p99 moves as much without an attack here, now; nothing is known of {noisy}")


if __name__ == "__main__":
    mxtest.main()
