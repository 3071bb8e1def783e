#!/usr/bin/env python3
"""Asks: what does a message of 1 KiB to 150 MB cost, and does the server's memory grow with its size?

On one core, for each size in interleaved rounds: a program that receives and forgets (the null
sink), and mxring, which stores durably before it says 250; verdicts are off. The unit is the CPU
time of all threads of the server per message (schedstat), medians of the rounds, and their ratio.
Memory is the server's peak since it started (VmHWM), a new server for each size, so that what one
size needed is not hidden by another; one connection, and with --connections more.

  bench/sizes.py [--build DIR] [--rounds N] [--bytes N] [--connections N] [--json]

--bytes: sent in each round, at least one message. Standard library only. Needs taskset (util-linux)
and two cores.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench"))
from pinned_server import DidNotStart, PinnedServer  # noqa: E402

KIB = 1024
SIZES = {"1 KiB": KIB, "10 KiB": 10 * KIB, "100 KiB": 100 * KIB, "1 MiB": KIB * KIB,
         "10 MiB": 10 * KIB * KIB, "25 MB": 25_000_000, "150 MB": 150_000_000}
MESSAGES_MAX = 4000
CONFIG = """\
hostname = "bench.example"
[listen]
smtp = ["127.0.0.1:0"]
smtps = []
[shards]
count = 1
[log]
dir = "{log_dir}"
segment_bytes = "256MiB"
retain_bytes = "512MiB"
[auth]
spf = false
dkim = false
dmarc = false
[limits]
message_size = "160MiB"
memory = "640MiB"
messages_per_connection = 1000000000
disk_reserve_percent = 0
disk_reserve_segments = 1
"""


def fail(text):
    print(f"sizes: {text}", file=sys.stderr)
    sys.exit(1)


class Server(PinnedServer):
    def peak_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as text:
            return int(re.search(r"VmHWM:\s+(\d+) kB", text.read())[1]) * KIB

    def burst(self, options, message, count):
        before = self.cpu_ns()
        done = subprocess.run(
            ["taskset", "-c", str(options.client_cpu), options.mxring, "load", self.address,
             "--connections", str(options.connections), "--messages", str(count),
             "--messages-per-connection", "0", "--message", message, "--mail-from",
             "x@bounce.example", "--rcpt-to", "b@bench.example", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        result = json.loads(done.stdout or "{}")
        if result.get("accepted") != count:
            fail(f"not all were accepted: {done.stdout.decode()}")
        time.sleep(0.01)  # the writer's last turn
        return (self.cpu_ns() - before) / count / 1000


def write_message(path, size):
    line = "x" * 74 + "\r\n"
    head = "From: a@bounce.example\r\nSubject: one size\r\n\r\n"
    with open(path, "w", encoding="ascii", newline="") as out:
        out.write(head)
        whole, rest = divmod(size - len(head), len(line))
        for _ in range(whole // 1000):
            out.write(line * 1000)
        out.write(line * (whole % 1000))
        if rest > 2:
            out.write("y" * (rest - 2) + "\r\n")


def measure_size(options, directory, size):
    message = os.path.join(directory, "message.eml")
    write_message(message, size)
    count = max(options.connections, min(MESSAGES_MAX, options.bytes // size))
    config = os.path.join(directory, "mxring.toml")
    with open(config, "w", encoding="ascii") as out:
        out.write(CONFIG.format(log_dir=os.path.join(directory, "log")))
    servers = []
    try:
        servers.append(Server([options.null_sink, "--listen", "127.0.0.1:0"], options.server_cpu))
        servers.append(Server([options.mxring, "serve", "-c", config], options.server_cpu))
        idle = servers[1].peak_bytes()
        rounds = [[server.burst(options, message, count) for server in servers]
                  for _ in range(options.rounds + 1)][1:]  # the first one warms everything up
        peak = servers[1].peak_bytes()
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(os.path.join(directory, "log"), ignore_errors=True)
    null, ours = (statistics.median(column) for column in zip(*rounds))
    return {"bytes": size, "messages": count, "null_sink_us": null, "mxring_us": ours,
            "ratio": statistics.median(b / a for a, b in rounds), "idle_bytes": idle,
            "peak_bytes": peak}


def show(name, row):
    def micro(value):
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return (f"| {name} | {micro(row['null_sink_us'])} | {micro(row['mxring_us'])} | "
            f"{row['ratio']:.2f} | {row['idle_bytes'] / KIB / KIB:.0f} | "
            f"{row['peak_bytes'] / KIB / KIB:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bytes", type=int, default=300_000_000)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.mxring = os.path.join(options.build, "mxring")
    options.null_sink = os.path.join(options.build, "bench", "null_sink")
    for program in (options.mxring, options.null_sink):
        if not os.access(program, os.X_OK):
            fail(f"{program} is missing; build it first")
    options.server_cpu, options.client_cpu = sorted(os.sched_getaffinity(0))[:2]
    if not options.json:
        print("| message | null sink, µs | mxring, µs | ratio | memory at rest, MiB | peak, MiB |\n"
              "|---|---|---|---|---|---|")
    # Not in /tmp, which may be memory: a commit is to reach a disk.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        for name in options.sizes:
            try:
                row = measure_size(options, directory, SIZES[name])
            except DidNotStart as error:
                fail(error)
            print(json.dumps({"size": name, **row}) if options.json else show(name, row), flush=True)


if __name__ == "__main__":
    main()
