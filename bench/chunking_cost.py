#!/usr/bin/env python3
"""Asks: what does a message by BDAT cost the server beside the same one by DATA?

One server on one core; the load generator on another gives it bursts by DATA and by BDAT in turn, the
order changing from pair to pair: 16 connections without pipelining, 16 and 64 with it. The unit is the
CPU time of all threads of the server for a message; reported are the medians and the median of the
ratios within pairs with its middle half.

  bench/chunking_cost.py [--build DIR] [--pairs N] [--json]

Needs taskset (util-linux) and two cores.
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
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench"))
from pinned_server import DidNotStart, PinnedServer  # noqa: E402

CONFIG = """\
hostname = "bench.example"
listen = {{smtp = ["127.0.0.1:0"], smtps = [], admin = ""}}
shards = {{count = 1}}
log = {{dir = "{log_dir}", retain_bytes = "512MiB"}}
auth = {{spf = false, dkim = false, dmarc = false}}
limits = {{messages_per_connection = 1000000000, disk_reserve_percent = 0}}
"""
MESSAGES = {"10KiB": 6000, "100KiB": 1500}
MANNERS = (("off", 16), ("on", 16), ("on", 64))  # pipelining, connections


def burst(options, server, size, pipelining, connections, chunking):
    before = server.cpu_ns()
    done = subprocess.run(
        ["taskset", "-c", str(options.client_cpu), options.mxring, "load", server.address,
         "--messages", str(MESSAGES[size]), "--size", size, "--connections", str(connections),
         "--pipelining", pipelining, "--chunking", chunking, "--json"],
        stdout=subprocess.PIPE, check=False)
    if done.returncode != 0 or json.loads(done.stdout)["accepted"] != MESSAGES[size]:
        sys.exit(f"chunking_cost: not every message was accepted: {done.stdout.decode()}")
    time.sleep(0.02)  # the writer's last turn
    return (server.cpu_ns() - before) / MESSAGES[size] / 1000


def compare(options, server, size, pipelining, connections):
    taken = {"off": [], "on": []}
    for pair in range(options.pairs + 1):
        for chunking in ("off", "on") if pair % 2 else ("on", "off"):
            cost = burst(options, server, size, pipelining, connections, chunking)
            if pair > 0:  # the first is for the caches
                taken[chunking].append(cost)
    low, middle, high = statistics.quantiles(
        [on / off for off, on in zip(taken["off"], taken["on"])], n=4)
    return {"size": size, "pipelining": pipelining, "connections": connections,
            "data_us": statistics.median(taken["off"]), "bdat_us": statistics.median(taken["on"]),
            "ratio": middle, "ratio_low": low, "ratio_high": high}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.mxring = os.path.join(options.build, "mxring")
    directory = tempfile.mkdtemp(prefix="chunking-cost-", dir=options.build)
    server = None
    try:
        config = os.path.join(directory, "mxring.toml")
        with open(config, "w", encoding="ascii") as out:
            out.write(CONFIG.format(log_dir=os.path.join(directory, "log")))
        server = PinnedServer([options.mxring, "serve", "-c", config], options.server_cpu)
        rows = [compare(options, server, size, pipelining, connections)
                for pipelining, connections in MANNERS for size in MESSAGES]
    except DidNotStart as error:
        sys.exit(f"chunking_cost: {error}")
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    if options.json:
        print(json.dumps(rows))
        return
    print("| message | connections | pipelining | DATA, us | BDAT, us | ratio | middle half |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['size']} | {row['connections']} | {row['pipelining']} | {row['data_us']:.1f} | "
              f"{row['bdat_us']:.1f} | {row['ratio']:.2f} | {row['ratio_low']:.2f} - "
              f"{row['ratio_high']:.2f} |")


if __name__ == "__main__":
    main()
