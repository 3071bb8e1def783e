"""What relays cost the receiver: its CPU for a message and its p99, with four relays that follow the
log, reading only or delivering, against none, in turn in one run; and what a relay holds in memory while mail goes by.

Question: does a receiver notice who reads its log? Input: `mxring load` at a steady rate, messages of
10 KiB; the relays deliver to a Maildir, LMTP, a webhook and JetStream (without nats-server: a second
Maildir), all on the same cores, as are their peers in Python. Unit: microseconds of the receiver's CPU
a message (all threads), milliseconds of p99; medians, and the median of the rounds' ratios.

  relay_effect.py --binary build/release/mxring [--rate R] [--seconds S] [--pairs N]
  relay_effect.py --binary build/release/mxring --memory MINUTES    # RSS of each relay, once in a while
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
sys.path.insert(0, os.path.join(ROOT, "bench"))


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


class Run:
    def __init__(self, stage, arguments):
        import mxtest
        import relay_lmtp_test
        import relay_nats_test
        from relay_program import Hook, Relay
        self.mxtest, self.relay_class = mxtest, Relay
        self.stage, self.arguments = stage, arguments
        self.server = mxtest.Server(stage.directory, {
            "log": {"segment_bytes": "32MiB", "retain_bytes": "128MiB"}})
        stage.addCleanup(self.server.kill)
        hook = Hook(stage)
        hook.requests = Forgetful()
        peer = relay_lmtp_test.Peer(stage, extensions=("PIPELINING", "CHUNKING", "8BITMIME"))
        peer.messages = peer.saved = peer.mail_lines = peer.verbs = Forgetful()
        self.maildir = os.path.join(stage.directory, "mail")
        self.sinks = {
            "maildir": {"maildir": {"path": self.maildir}},
            "lmtp": {"lmtp": {"address": peer.address}},
            "webhook": {"webhook": {"url": hook.url, "allow_private": True, "order": "none"}}}
        if mxtest.find_program("nats-server"):
            nodes = relay_nats_test.Nodes(stage)
            self.sinks["nats"] = {"nats": {"servers": nodes.servers(), "stream": "MAIL"}}
        else:
            self.sinks["maildir2"] = {"maildir": {"path": self.maildir + "2"}}
        self.relays = {}

    def start(self, nothing=False):
        for name, config in self.sinks.items():
            config = {**config, "": {"group": name, "log": self.server.log_dir, "start": "latest"}}
            if nothing:
                config["filter"] = {"recipients": ["nobody@nowhere.test"]}
            self.relays[name] = self.relay_class(self.stage, config, name=name)

    def stop(self):
        for relay in self.relays.values():
            assert relay.stop() == 0, relay.stderr()
        self.relays = {}
        self.empty_maildirs()

    def empty_maildirs(self):
        for folder in (self.maildir + "/new", self.maildir + "2/new"):
            for name in os.listdir(folder) if os.path.isdir(folder) else []:
                os.unlink(os.path.join(folder, name))

    def load(self, seconds):
        done = subprocess.run(
            [self.mxtest.BINARY, "load", f"127.0.0.1:{self.server.port}", "--rate",
             f"{self.arguments.rate}/s", "--duration", f"{seconds}s", "--size", "10KiB",
             "--connections", "8", "--server-pid", str(self.server.pid), "--json"],
            check=True, stdout=subprocess.PIPE)
        result = json.loads(done.stdout)
        return result["cpu_us_per_message"]["server"], result["latency_us"]["p99"] / 1000


class Forgetful(list):
    """What the peers would keep of everything is not wanted here."""

    def append(self, _):
        pass


def effect(run, arguments):
    run.load(2)  # caches, and the log's first segment
    rounds = []
    for _ in range(arguments.pairs):
        alone = run.load(arguments.seconds)
        run.start(nothing=True)
        read = run.load(arguments.seconds)
        run.stop()
        run.start()
        rounds.append((alone, read, run.load(arguments.seconds)))
        run.stop()
    print("| receiver, 10 KiB | alone | four relays that take nothing | four that deliver | ratios |")
    print("|---|---|---|---|---|")
    for i, name in enumerate(("CPU, us a message", "p99, ms")):
        columns = [[one[i] for one in column] for column in zip(*rounds)]
        ratios = [statistics.median(b / a for a, b in zip(columns[0], column))
                  for column in columns[1:]]
        figures = " | ".join(f"{statistics.median(column):.1f}" for column in columns)
        print(f"| {name} | {figures} | " + " and ".join(f"{r:.2f}" for r in ratios) + " |")


def memory(run, arguments):
    run.start()
    begun = time.monotonic()
    seen = {name: [] for name in run.relays}
    while time.monotonic() - begun < arguments.memory * 60:
        run.load(min(20, arguments.memory * 60))
        run.empty_maildirs()
        for name, relay in run.relays.items():
            seen[name].append(rss_kib(relay.process.pid))
    run.stop()
    minutes = (time.monotonic() - begun) / 60
    print(f"| relay | RSS after the first tenth, KiB | at the end of {minutes:.0f} minutes | growth |")
    print("|---|---|---|---|")
    grown = False
    for name, sizes in seen.items():
        early = max(sizes[:max(1, len(sizes) // 10)])
        grown |= sizes[-1] > early * 1.15 + 1024
        print(f"| {name} | {early:,} | {sizes[-1]:,} | {sizes[-1] / early - 1:+.1%} |")
    return 1 if grown else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--memory", type=float, default=0)
    arguments = parser.parse_args()
    os.environ["MXRING_BINARY"] = os.path.abspath(arguments.binary)
    from relay_demo import Stage
    scratch = os.path.join(os.path.dirname(os.environ["MXRING_BINARY"]), "relay-effect")
    os.makedirs(scratch, exist_ok=True)
    stage = Stage(tempfile.mkdtemp(dir=scratch))
    try:
        run = Run(stage, arguments)
        return memory(run, arguments) if arguments.memory else effect(run, arguments) or 0
    finally:
        stage.end()
        shutil.rmtree(stage.directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
