#!/usr/bin/env python3
"""Asks: what does SPF cost the server per message, when the answers are cached?

Two servers run side by side on one core, one with auth.spf and one without, all else equal. The
load generator, on another core, gives each of them the same short burst of messages in turn; the
order changes from pair to pair. The unit is the CPU time of all threads of the server per message
(schedstat, in nanoseconds). Reported are the median of the differences within pairs, the middle
half of them, and how far the median itself can be trusted. Bursts during which the kernel ran
something else on the server's core are as good as others, as only the server's own time counts, but
cold caches make them dearer; hence medians, and many pairs.

  bench/spf_cost.py [--build DIR] [--pairs N] [--messages N] [--json]

The zone is served by a responder in this script, once; its answers live for an hour. Standard
library only. Needs taskset (util-linux) and two cores.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench"))
from pinned_server import DidNotStart, PinnedServer  # noqa: E402

BUDGET_US = 2.0
TYPE_A, TYPE_MX, TYPE_TXT = 1, 15, 16
A, MX, TXT = "A", "MX", "TXT"

# What bulk senders publish: includes that list networks, and one that the client is in.
RECORDS = {
    "a network": {
        ("plain.example", TXT): ["v=spf1 ip4:192.0.2.0/24 ip4:127.0.0.0/8 -all"],
    },
    "two includes and mx": {
        ("bulk.example", TXT): ["v=spf1 mx include:_a.example include:_b.example ~all"],
        ("bulk.example", MX): ["mx1.example", "mx2.example"],
        ("mx1.example", A): ["192.0.2.1"],
        ("mx2.example", A): ["192.0.2.2"],
        ("_a.example", TXT): ["v=spf1 " + " ".join(f"ip4:198.51.{i}.0/24" for i in range(12))
                              + " ~all"],
        ("_b.example", TXT): ["v=spf1 ip4:203.0.113.0/24 ip6:2001:db8::/32 ip4:127.0.0.1 ~all"],
    },
    "macros": {
        ("macro.example", TXT): ["v=spf1 exists:%{ir}.%{v}.%{l1r-}._spf.%{d2} -all"],
        ("1.0.0.127.in-addr.a._spf.macro.example", A): ["127.0.0.2"],
    },
}
CONFIG = """\
hostname = "bench.example"
[listen]
smtp = ["127.0.0.1:0"]
smtps = []
admin = ""
[shards]
count = 1
[log]
dir = "{log_dir}"
sync = "none"
segment_bytes = "64MiB"
retain_bytes = "128MiB"
[dns]
servers = ["{dns}"]
[auth]
spf = {spf}
dkim = false
dmarc = false
[limits]
messages_per_connection = 1000000000
disk_reserve_percent = 0
disk_reserve_segments = 1
"""


def fail(text):
    print(f"spf_cost: {text}", file=sys.stderr)
    sys.exit(1)


def wire_name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


class Responder(threading.Thread):
    """Answers from `records` over UDP; no such name for everything else."""

    def __init__(self, records):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.questions = 0
        self.answers = {}
        types = {A: TYPE_A, MX: TYPE_MX, TXT: TYPE_TXT}
        for (name, kind), values in records.items():
            self.answers[wire_name(name), types[kind]] = [self.data(kind, v) for v in values]

    @staticmethod
    def data(kind, value):
        if kind == A:
            return socket.inet_aton(value)
        if kind == MX:
            return struct.pack(">H", 10) + wire_name(value)
        text = value.encode()
        return b"".join(bytes([len(text[i:i + 255])]) + text[i:i + 255]
                        for i in range(0, len(text), 255))

    def run(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            end = query.index(b"\0", 12) + 1
            name, kind = query[12:end].lower(), struct.unpack(">H", query[end:end + 2])[0]
            found = self.answers.get((name, kind), [])
            code = 0 if any(known == name for known, _ in self.answers) else 3
            self.questions += bool(found)  # the client's own name is asked for in both servers
            reply = query[:2] + struct.pack(">5H", 0x8580 | code, 1, len(found), 0, 0)
            reply += query[12:end + 4]
            for data in found:
                reply += struct.pack(">HHHIH", 0xC00C, kind, 1, 3600, len(data)) + data
            self.socket.sendto(reply, client)


class Server(PinnedServer):
    def __init__(self, options, directory, spf, dns):
        self.spf = spf
        name = "on" if spf else "off"
        config = os.path.join(directory, f"{name}.toml")
        with open(config, "w", encoding="ascii") as out:
            out.write(CONFIG.format(log_dir=os.path.join(directory, name), dns=dns,
                                    spf="true" if spf else "false"))
        super().__init__([options.mxring, "serve", "-c", config], options.server_cpu)

    def burst(self, options, sender, messages):
        """CPU microseconds per message of one burst."""
        before = self.cpu_ns()
        done = subprocess.run(
            ["taskset", "-c", str(options.client_cpu), options.mxring, "load",
             self.address, "--connections", "16", "--messages", str(messages),
             "--size", str(options.size), "--messages-per-connection", "0", "--mail-from", sender,
             "--rcpt-to", "b@bench.example", "--json"],
            stdout=subprocess.PIPE, check=False)
        if done.returncode != 0 or json.loads(done.stdout)["accepted"] != messages:
            fail(f"not every message was accepted: {done.stdout.decode()}")
        time.sleep(0.01)  # the writer's last turn
        return (self.cpu_ns() - before) / messages / 1000


def check_result(options, log_dir, domain):
    """The records say pass: what was measured is SPF, and all of it."""
    info = json.loads(subprocess.run([options.mxring, "log", "info", log_dir, "--json"],
                                     stdout=subprocess.PIPE, check=True).stdout)
    last = subprocess.run([options.mxring, "log", "cat", log_dir, "--json", "--from",
                           str(info["next"] - 1)], stdout=subprocess.PIPE, check=True).stdout
    spf = json.loads(last)["spf"]
    if (spf["domain"], spf["result"]) != (domain, "pass"):
        fail(f"SPF gave {spf}")


def summary(on, off):
    differences = sorted(a - b for a, b in zip(on, off))
    low, middle, high = statistics.quantiles(differences, n=4)
    # Of the median, from the middle half, as for a normal distribution.
    error = 1.253 * (high - low) / 1.349 / len(differences) ** 0.5
    return {"off_us": statistics.median(off), "on_us": statistics.median(on), "added_us": middle,
            "low_us": low, "high_us": high, "error_us": error}


def measure(options, directory, responder):
    servers = [Server(options, directory, spf, responder.address) for spf in (False, True)]
    results = {}
    try:
        for name, records in RECORDS.items():
            domain = next(iter(records))[0]
            sender = f"a@{domain}"
            for server in servers:
                server.burst(options, sender, options.messages)
            asked = responder.questions
            taken = {False: [], True: []}
            for pair in range(options.pairs):
                if sys.stderr.isatty():
                    print(f"\r\033[K{name}: pair {pair + 1} of {options.pairs}", end="",
                          file=sys.stderr, flush=True)
                for server in servers if pair % 2 == 0 else servers[::-1]:
                    taken[server.spf].append(server.burst(options, sender, options.messages))
            if responder.questions != asked:
                fail("the answers were not cached")
            check_result(options, os.path.join(directory, "on"), domain)
            results[name] = summary(taken[True], taken[False])
    finally:
        for server in servers:
            server.stop()
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
    return results


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--messages", type=int, default=6_000)
    parser.add_argument("--size", type=int, default=1_024)
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.mxring = os.path.join(options.build, "mxring")
    if not os.path.exists(options.mxring):
        fail(f"{options.mxring} is not there; build it first, or name the folder with --build")
    if shutil.which("taskset") is None:
        fail("taskset is not installed (Debian: apt-get install util-linux)")
    if options.pairs < 4:
        fail("--pairs: at least 4")
    return options


def main():
    options = parse_options()
    responder = Responder({name: values for records in RECORDS.values()
                           for name, values in records.items()})
    responder.start()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="mxring-spf.", dir="/var/tmp") as directory:
        try:
            results = measure(options, directory, responder)
        except DidNotStart as problem:
            fail(problem)
    if options.json:
        print(json.dumps(results))
        return 0
    print(f"Server CPU per message, us; {options.pairs} pairs of {options.messages} messages of "
          f"{options.size} bytes; load {load_before:.1f} at the start\n")
    print(f"{'SPF record':<22}{'off':>8}{'on':>8}{'added':>8}{'middle half':>16}{'+-':>7}")
    for name, r in results.items():
        half = f"{r['low_us']:.2f} to {r['high_us']:.2f}"
        print(f"{name:<22}{r['off_us']:>8.2f}{r['on_us']:>8.2f}{r['added_us']:>8.2f}{half:>16}"
              f"{r['error_us']:>7.2f}")
    over = [name for name, r in results.items() if r["added_us"] > BUDGET_US]
    print(f"\nbudget: {BUDGET_US:g} us added; "
          + (f"over it: {', '.join(over)}" if over else "kept"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
