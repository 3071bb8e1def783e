"""All abuse of abuse.py at once against good clients: is anything acknowledged lost, does anything
grow, do the good clients notice?

As a test (`soak_test.py Short`) it takes half a minute. `./run.sh soak MINUTES`, or this file with
`--minutes N`, goes on for as long as one likes and prints what it saw every ten seconds.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import abuse
import mxtest

GOOD_CLIENTS = 64
GOOD_RATE = 150  # messages a second, open loop: what good clients would send anyway
CONFIG = {
    "listen": {"smtp": ["127.0.0.1:0"], "smtps": ["127.0.0.1:0"], "admin": "127.0.0.1:0"},
    "auth": {"spf": True, "dkim": True, "dmarc": True},
    # What is kept for its own sake reaches its bound soon, so that growth is seen as such.
    "limits": {"memory": "96MiB", "data_rate": "0", "dns_cache": "2MiB"},
    "log": {"segment_bytes": "64MiB", "retain_bytes": "2GiB"},
}

# To see growth: every store of this one is full after a moment of abuse.
SMALL = dict(CONFIG, shards={"count": 1}, limits={
    "memory": "32MiB", "message_size": "8MiB", "data_rate": "0", "dns_cache": "1MiB",
    "dns_outstanding": 1024, "memory_wait": "500ms"})


class Zone:
    """A resolver that has records for everybody, but for *.silent.*, which it never answers."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                query, client = self.socket.recvfrom(4096)
            except OSError:
                return
            answer = self.answer(query)
            if answer:
                self.socket.sendto(answer, client)

    @staticmethod
    def answer(query):
        labels, at = [], 12
        while at < len(query) and query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].lower())
            at += query[at] + 1
        question = query[12:at + 5]
        kind = struct.unpack(">H", query[at + 1:at + 3])[0] if at + 3 <= len(query) else 0
        if b"silent" in labels:
            return None
        texts = {b"_dmarc": b"v=DMARC1; p=reject", b"_domainkey": b"v=DKIM1; p=" + b"A" * 60}
        text = next((v for k, v in texts.items() if k in labels), b"v=spf1 ip4:127.0.0.1 -all")
        if kind != 16:
            return query[:2] + struct.pack(">HHHHH", 0x8180, 1, 0, 0, 0) + question
        record = (b"\xc0\x0c" + struct.pack(">HHIH", 16, 1, 60, len(text) + 1) +
                  bytes([len(text)]) + text)
        return query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + question + record

    def close(self):
        self.socket.close()


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def good_clients(server, seconds, recipient):
    """`mxring load` as good clients; what it measured."""
    done = subprocess.run(
        [mxtest.BINARY, "load", f"127.0.0.1:{server.port}", "--connections", str(GOOD_CLIENTS),
         "--rate", f"{GOOD_RATE}/s", "--duration", f"{seconds}s", "--messages-per-connection", "20",
         "--mail-from", "good@good.test", "--rcpt-to", recipient, "--size", "4KiB", "--json"],
        capture_output=True, text=True, check=False, timeout=seconds + 120)
    if done.returncode != 0:
        raise AssertionError(f"load: exit {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def abuser(target, seconds, seed, strength):
    os.nice(10)
    abuse.run(target, seconds, seed, each=strength, steps_per_second=130 * strength)


class Watch(threading.Thread):
    """Memory and descriptors of the server, once a second."""

    def __init__(self, server, say):
        super().__init__(daemon=True)
        self.server, self.say, self.going = server, say, True
        self.memory, self.open = [], []

    def run(self):
        begun = time.monotonic()
        while self.going and self.server.alive():
            self.memory.append(self.server.memory_bytes())
            self.open.append(descriptors(self.server.pid))
            if len(self.memory) % 10 == 0:
                self.say(f"{time.monotonic() - begun:6.0f} s  {self.memory[-1] >> 20:5d} MiB  "
                         f"{self.open[-1]:5d} descriptors")
            time.sleep(1)

    def stop(self):
        self.going = False
        self.join()


def soak(directory, seconds, say, seed=1, strength=3):
    """A whole run: good clients alone, then with all the abuse; what came of it."""
    zone = Zone()
    config = {key: dict(value) for key, value in CONFIG.items()}
    config["dns"] = {"servers": [zone.address]}
    server = mxtest.Server(directory, config=config)
    try:
        at_rest = descriptors(server.pid)
        alone = good_clients(server, max(5, min(60, seconds // 6)), "alone@mx.test")
        say(f"alone:      p50 {alone['latency_us']['p50']} us, p99 {alone['latency_us']['p99']} us")
        tls_port = int(server.ready["smtps"].rsplit(":", 1)[1])
        target = abuse.Target("127.0.0.1", server.port, tls_port)
        watch = Watch(server, say)
        watch.start()
        bad = multiprocessing.Process(
            target=abuser, args=(target, seconds, seed, strength), daemon=True)
        bad.start()
        among = good_clients(server, seconds, "among@mx.test")
        bad.join(60)
        bad.kill()
        watch.stop()
        say(f"with abuse: p50 {among['latency_us']['p50']} us, p99 {among['latency_us']['p99']} us")
        mxtest.wait_until(lambda: descriptors(server.pid) <= at_rest + 8, 60,
                          "the descriptors of the abusers are closed")
        begun = time.monotonic()
        code = server.stop(timeout=90)
        ended = time.monotonic() - begun
    finally:
        if server.alive():
            server.kill()
        zone.close()
    log = mxtest.Log(server.log_dir)
    recipients = {}
    smuggled = 0
    for record in log.records():
        for recipient in record["rcpt_to"]:
            recipients[recipient] = recipients.get(recipient, 0) + 1
        smuggled += record["mail_from"].startswith("smuggled")
    verified, facts = log.verify()
    return {"alone": alone, "among": among, "exit": code, "ended_s": ended,
            "memory": watch.memory, "open": watch.open, "recipients": recipients,
            "smuggled": smuggled, "verify": verified, "torn": facts.get("torn_tail")}


def judge(found, p99_times):
    """What is wrong with a run, a line each."""
    wrong = []
    for name, result in (("alone", found["alone"]), ("among", found["among"])):
        stored = found["recipients"].get(f"{name}@mx.test", 0)
        if stored < result["accepted"]:
            wrong.append(f"{result['accepted']} acknowledged, {stored} in the log ({name})")
        if result["accepted"] < result["sent"]:
            wrong.append(f"{result['sent'] - result['accepted']} of {result['sent']} good messages "
                         f"not accepted ({name})")
    if found["smuggled"]:
        wrong.append(f"{found['smuggled']} smuggled messages were stored")
    if found["exit"] != 0 or found["ended_s"] > 60:
        wrong.append(f"SIGTERM: exit {found['exit']} after {found['ended_s']:.0f} s")
    if found["verify"] != 0:
        wrong.append("log verify finds damage")
    third = max(1, len(found["memory"]) // 3)
    early, late = max(found["memory"][:2 * third]), max(found["memory"][2 * third:])
    if late > early * 1.2 + (16 << 20):
        wrong.append(f"memory grows: {early >> 20} MiB, then {late >> 20} MiB")
    ratio = found["among"]["latency_us"]["p99"] / max(1, found["alone"]["latency_us"]["p99"])
    if p99_times and ratio > p99_times:
        wrong.append(f"p99 of the good clients is {ratio:.1f} times what it was alone")
    return wrong


class Steps:
    """Some abusers that go on where they stopped, as many steps as one likes."""

    def __init__(self, target, kinds, each, seed=1):
        rng = random.Random(seed)
        self.running = [kind(target, random.Random(rng.random()))
                        for kind in kinds for _ in range(each)]

    def make(self, steps, seconds):
        """So many steps, or as many as there is time for; how many they were."""
        end, made = time.monotonic() + seconds, 0
        while made < steps and time.monotonic() < end:
            for attack in self.running:
                next(attack)
                made += 1
            time.sleep(0.002)
        return made

    def close(self):
        for attack in self.running:
            attack.close()


def small_server(directory, zone):
    return mxtest.Server(directory, config=dict(
        SMALL, dns={"servers": [zone.address], "timeout": "300ms"}))


def growth(server, target, kinds, each, steps, seconds):
    """Abuse to warm up, then N steps, then 2N: the memory after each, N, and what `seconds` allowed.

    What the abusers themselves make the receiver keep comes and goes, so each figure is the least of
    some, a moment after they have gone.
    """
    figures, made = [], steps
    for times in (2, 1, 2):
        abusers = Steps(target, kinds, each, seed=len(figures))
        done = abusers.make(made * times, seconds * times)
        abusers.close()
        made = done if len(figures) == 1 else made
        looks = []
        for _ in range(6):
            time.sleep(0.1)
            looks.append(server.memory_bytes())
        figures.append(min(looks))
    return figures, made


def grown(figures):
    """Whether twice as much abuse left more than as much again: bytes, or 0 within what an
    allocator's pages move by."""
    more = figures[2] - figures[1]
    return more if more > (4 << 20) + figures[1] // 20 else 0


class Growth(mxtest.TestCase):
    """One kind of abuse N and 2N times; `--growth` does so with each kind, for longer."""

    def test_memory_is_flat(self):
        zone = Zone()
        self.addCleanup(zone.close)
        server = small_server(self.directory, zone)
        self.servers.append(server)
        tls_port = int(server.ready["smtps"].rsplit(":", 1)[1])
        target = abuse.Target("127.0.0.1", server.port, tls_port)
        for kinds in ([abuse.dns_eater], abuse.KINDS):
            figures, made = growth(server, target, kinds, 8 // len(kinds) + 1, 1 << 30, 0.4)
            self.assertGreater(made, 20)
            self.assertEqual(grown(figures), 0, (kinds[0].__name__, made, figures))
        self.assertEqual(server.stop(), 0)


class Short(mxtest.TestCase):
    def test_half_a_minute_of_everything(self):
        said = []
        # The abusers, the good clients and the server share this machine's processors, so the
        # latency is looked at in a long run only.
        found = soak(self.directory, 20, said.append)
        self.assertEqual(judge(found, p99_times=None), [], "\n".join(said))


def growth_of_each(seconds, say):
    """Each kind alone against a receiver of its own; those after which memory had grown."""
    wrong = []
    for kind in abuse.KINDS:
        zone = Zone()
        with contextlib.closing(zone), tempfile.TemporaryDirectory(dir=mxtest.SCRATCH) as directory:
            server = small_server(directory, zone)
            try:
                tls_port = int(server.ready["smtps"].rsplit(":", 1)[1])
                target = abuse.Target("127.0.0.1", server.port, tls_port)
                figures, made = growth(server, target, [kind], 8, 1 << 30, seconds)
                code = server.stop(timeout=90)
            finally:
                server.kill()
        say(f"{kind.__name__:24} {made:8} steps: " +
            ", ".join(f"{figure / (1 << 20):.1f}" for figure in figures) + " MiB")
        if grown(figures) or code != 0:
            wrong.append(kind.__name__)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strength", type=int, default=6, help="abusers of each kind")
    parser.add_argument("--p99-times", type=float, default=2.0)
    parser.add_argument("--growth", action="store_true",
                        help="each kind of abuse alone, N and 2N times: does memory grow?")
    parser.add_argument("--binary", default=mxtest.BINARY)
    options = parser.parse_args()
    mxtest.BINARY = os.path.abspath(options.binary)
    os.makedirs(mxtest.SCRATCH, exist_ok=True)
    if options.growth:
        wrong = growth_of_each(options.minutes * 60 / len(abuse.KINDS) / 5,
                               lambda line: print(line, flush=True))
        print("memory grew with: " + ", ".join(wrong) if wrong else "memory is flat")
        return 1 if wrong else 0
    with tempfile.TemporaryDirectory(dir=mxtest.SCRATCH) as directory:
        found = soak(directory, int(options.minutes * 60), lambda line: print(line, flush=True),
                     options.seed, options.strength)
    wrong = judge(found, options.p99_times)
    print(f"good messages: {found['among']['accepted']} of {found['among']['sent']} accepted; "
          f"memory at most {max(found['memory']) >> 20} MiB; descriptors at most "
          f"{max(found['open'])}; SIGTERM took {found['ended_s']:.1f} s")
    for line in wrong:
        print("WRONG: " + line)
    print("nothing wrong" if not wrong else f"{len(wrong)} things wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    if any(argument.startswith("--minutes") for argument in sys.argv):
        sys.exit(main())
    mxtest.main()
