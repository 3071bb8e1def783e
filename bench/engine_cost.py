#!/usr/bin/env python3
"""Asks: what does a message cost on epoll, the engine for hosts that forbid io_uring, next to
io_uring?

Two servers run side by side on one core, one on each engine, all else equal. The load generator, on
another core, gives each of them the same short burst of messages in turn; the order changes from
pair to pair. The unit is the CPU time of all threads of the server per message (schedstat).
Reported is the median of the ratios within pairs, and the middle half of them. The log is durable:
its writes and syncs are the same with both, so the ratio is that of whole receivers.

  bench/engine_cost.py [--build DIR] [--pairs N] [--pipelining on|off] [--json]

Standard library only. Needs taskset (util-linux), two cores, and a disk for the log.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench"))
from pinned_server import DidNotStart, PinnedServer  # noqa: E402

ENGINES = ("io_uring", "epoll")
# Bytes of a message: messages of a burst.
BURSTS = {1 << 10: 3000, 10 << 10: 2000, 100 << 10: 400}
CONFIG = """\
hostname = "bench.example"
[listen]
smtp = ["127.0.0.1:0"]
smtps = []
admin = ""
[shards]
count = 1
pin = false
engine = "{engine}"
[log]
dir = "{log_dir}"
segment_bytes = "64MiB"
retain_bytes = "256MiB"
[limits]
disk_reserve_percent = 0
disk_reserve_segments = 1
[auth]
spf = false
dkim = false
dmarc = false
"""


def fail(text):
    print(f"engine_cost: {text}", file=sys.stderr)
    sys.exit(1)


class Server(PinnedServer):
    def __init__(self, options, directory, engine):
        self.engine = engine
        config = os.path.join(directory, f"{engine}.toml")
        with open(config, "w", encoding="ascii") as out:
            out.write(CONFIG.format(engine=engine, log_dir=os.path.join(directory, engine)))
        super().__init__([options.mxring, "serve", "-c", config], options.server_cpu)

    def burst(self, options, size):
        """CPU microseconds per message of one burst."""
        messages = BURSTS[size]
        before = self.cpu_ns()
        done = subprocess.run(
            ["taskset", "-c", str(options.client_cpu), options.mxring, "load",
             self.address, "--connections", "32", "--messages", str(messages),
             "--size", str(size), "--messages-per-connection", "0",
             "--pipelining", options.pipelining, "--mail-from", "a@bench.example",
             "--rcpt-to", "b@bench.example", "--json"],
            stdout=subprocess.PIPE, check=False)
        if done.returncode != 0 or json.loads(done.stdout)["accepted"] != messages:
            fail(f"not every message was accepted: {done.stdout.decode()}")
        time.sleep(0.05)  # the writer's last turn
        return (self.cpu_ns() - before) / messages / 1000


def measure(options, directory):
    servers = [Server(options, directory, engine) for engine in ENGINES]
    results = []
    try:
        for size in BURSTS:
            for server in servers:
                server.burst(options, size)
            taken = {engine: [] for engine in ENGINES}
            for pair in range(options.pairs):
                for server in servers if pair % 2 == 0 else servers[::-1]:
                    taken[server.engine].append(server.burst(options, size))
            ratios = [e / u for e, u in zip(taken["epoll"], taken["io_uring"])]
            low, middle, high = statistics.quantiles(ratios, n=4)
            results.append({"size": size, "ratio": middle, "low": low, "high": high,
                            **{f"{name}_us": statistics.median(taken[name]) for name in ENGINES}})
    finally:
        for server in servers:
            server.stop()
    return results


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--pipelining", choices=("on", "off"), default="on")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--directory", help="where the logs go (default: beside the build)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.pairs < 2:
        parser.error("--pairs: at least 2")
    options.mxring = os.path.join(options.build, "mxring")
    if not os.path.exists(options.mxring):
        fail(f"{options.mxring} is not there; build it first, or name the build folder with --build")
    with tempfile.TemporaryDirectory(dir=options.directory or options.build) as directory:
        try:
            results = measure(options, directory)
        except DidNotStart as error:
            fail(str(error))
    if options.json:
        print(json.dumps({"pipelining": options.pipelining, "sizes": results}))
        return
    print(f"{'bytes':>8}  {'io_uring us':>12}  {'epoll us':>9}  ratio (middle half)")
    for row in results:
        print(f"{row['size']:>8}  {row['io_uring_us']:>12.1f}  {row['epoll_us']:>9.1f}  "
              f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})")


if __name__ == "__main__":
    main()
