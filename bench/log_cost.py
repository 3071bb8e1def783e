#!/usr/bin/env python3
"""Asks: what does it cost to read the log, and what do its readers cost the receiver?

One log of 10 KiB messages, made by `mxring load`, is read in turn, in one run: by the C++ reader with
the pages in memory and without, by the Python reader, by Node from `mxring log tail`, by `log find`.
Then messages come at a steady rate, and four groups follow with consumer.h, each committing every
batch, or nobody does, in turn: the CPU time of all threads of the server for each message, with
readers against without, and from the receipt of a message to its reader. The server has one core,
the load generator and the readers the other. Budgets are for the same size of message.

  bench/log_cost.py [--build DIR] [--records N] [--rounds N] [--rate N] [--json]

Cold reading drops the log's own pages (posix_fadvise) after a sync; the readahead is the disk's.
Needs two cores and taskset; Node and a CRC library of Python's are used where they are.
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
sys.path.insert(0, os.path.join(ROOT, "include", "python"))
from pinned_server import DidNotStart, PinnedServer  # noqa: E402

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
segment_bytes = "64MiB"
[auth]
spf = false
dkim = false
dmarc = false
[limits]
messages_per_connection = 1000000000
disk_reserve_percent = 0
disk_reserve_segments = 1
"""
NODE = """
const lines = require('readline').createInterface({input: process.stdin});
let count = 0;
lines.on('line', line => {
  const record = JSON.parse(line);
  if (record.id === undefined) process.exit(1);
  if (++count == Number(process.argv[1])) {
    const used = process.cpuUsage();
    console.log(JSON.stringify({records: count, cpu_us: used.user + used.system}));
    process.exit(0);
  }
});
"""
PYTHON = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import mxringlog
begun, cpu, count = time.perf_counter(), time.process_time(), 0
for entry in mxringlog.Log(sys.argv[2]).records():
    count += len(entry.message) > 0
print(json.dumps({"records": count, "cpu_us": (time.process_time() - cpu) * 1e6,
                  "seconds": time.perf_counter() - begun}))
"""
BUDGETS = {"C++, warm": 2, "C++, cold": 20}
FOLLOWERS = 4


def fail(text):
    print(f"log_cost: {text}", file=sys.stderr)
    sys.exit(1)


def on_client_core(options, command, **more):
    return subprocess.Popen(["taskset", "-c", str(options.client_cpu), *command],
                            stdout=subprocess.PIPE, text=True, **more)


def answer_of(process):
    text = process.communicate(timeout=600)[0]
    if process.returncode != 0:
        fail(f"{process.args} ended with {process.returncode}")
    return json.loads(text.strip().splitlines()[-1])


def load(options, server, messages, *more):
    done = on_client_core(options, [options.mxring, "load", server.address, "--messages",
                                    str(messages), "--size", "10KiB", "--connections", "16",
                                    "--json", *more])
    figures = answer_of(done)
    if figures["accepted"] != messages:
        fail(f"not every message was accepted: {figures}")
    return figures


def drop_pages(log):
    os.sync()
    for name in os.listdir(log):
        path = os.path.join(log, name)
        if os.path.isfile(path):
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def each_reader(options, log):
    """Name and function of each way to read the log once: what a record cost, records a second."""
    cpp = [options.reader, "read", log, str(options.records)]

    def run(command, **more):
        begun = time.perf_counter()
        figures = answer_of(on_client_core(options, command, **more))
        seconds = figures.get("seconds") or time.perf_counter() - begun
        return figures["cpu_us"] / figures["records"], figures["records"] / seconds

    def cold():
        drop_pages(log)
        return run(cpp)

    def node():
        with subprocess.Popen([options.mxring, "log", "tail", log, "--from", "0", "--json"],
                              stdout=subprocess.PIPE) as tail:
            try:
                return run(["node", "-e", NODE, str(options.records)], stdin=tail.stdout)
            finally:
                tail.kill()

    def find():
        begun = time.perf_counter()
        before = os.times()
        subprocess.run([options.mxring, "log", "find", log, "--message-id", "<none@nowhere>",
                        "--json"], check=False, stdout=subprocess.DEVNULL)
        after = os.times()
        cpu = (after.children_user + after.children_system - before.children_user
               - before.children_system)
        return cpu * 1e6 / options.records, options.records / (time.perf_counter() - begun)

    readers = {"C++, warm": lambda: run(cpp), "C++, cold": cold,
               "Python": lambda: run([sys.executable, "-c", PYTHON,
                                      os.path.join(ROOT, "include", "python"), log])}
    if shutil.which("node"):
        readers["Node on log tail --json"] = node
    readers["log find"] = find
    return readers


def reading(options, log):
    taken = {}
    readers = each_reader(options, log)
    readers["C++, warm"]()  # the first reading after the writing is nobody's
    for _ in range(options.rounds):
        for name, read in readers.items():
            taken.setdefault(name, []).append(read())
    return {name: {"cpu_us": statistics.median(cpu for cpu, _ in rounds),
                   "records_per_second": statistics.median(rate for _, rate in rounds)}
            for name, rounds in taken.items()}


def burst(options, server, log, number, followers):
    readers = [on_client_core(options, [options.reader, "follow", log, f"g{number}x{i}",
                                        str(options.messages)]) for i in range(followers)]
    for reader in readers:
        if reader.stdout.readline().strip() != "ready":
            fail("a reader did not start")
    before = server.cpu_ns()
    figures = load(options, server, options.messages, "--rate", str(options.rate))
    answers = [answer_of(reader) for reader in readers]
    cost = (server.cpu_ns() - before) / options.messages / 1000
    return cost, figures, answers


def following(options, server, log):
    alone, among, readers = [], [], []
    load(options, server, options.messages)
    for number in range(options.pairs):
        for followers in (0, FOLLOWERS) if number % 2 == 0 else (FOLLOWERS, 0):
            cost, _, answers = burst(options, server, log, number, followers)
            (among if followers else alone).append(cost)
            readers += answers
    ratios = sorted(b / a for a, b in zip(alone, among))
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"server_alone_us": statistics.median(alone), "server_among_us": statistics.median(among),
            "ratio": middle, "ratio_low": low, "ratio_high": high,
            "reader_us": statistics.median(a["cpu_us"] / a["records"] for a in readers),
            "to_reader_p50_ms": statistics.median(a["p50_us"] for a in readers) / 1000,
            "to_reader_p99_ms": statistics.median(a["p99_us"] for a in readers) / 1000}


def show(options, results):
    print(f"{options.records} records of 10 KiB, median of {options.rounds} rounds")
    print("| reader | CPU, us a record | budget | records a second |\n|---|---|---|---|")
    for name, row in results["reading"].items():
        print(f"| {name} | {row['cpu_us']:.2f} | {BUDGETS.get(name, '')} | "
              f"{row['records_per_second']:,.0f} |")
    row = results["following"]
    print(f"\nfour groups at {options.rate} messages a second, {options.pairs} pairs: the server's CPU "
          f"{row['server_alone_us']:.1f} us a message alone, {row['server_among_us']:.1f} with them, "
          f"ratio {row['ratio']:.3f} (middle half {row['ratio_low']:.3f} to {row['ratio_high']:.3f}; "
          f"budget 1.10)\na reader: {row['reader_us']:.1f} us of CPU a record (budget 12); from the "
          f"receipt to it p50 {row['to_reader_p50_ms']:.2f} ms, p99 {row['to_reader_p99_ms']:.2f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--messages", type=int, default=4_000, help="of a burst")
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.mxring = os.path.join(options.build, "mxring")
    options.reader = os.path.join(options.build, "bench", "log_reader")
    directory = tempfile.mkdtemp(prefix="log-cost-", dir=options.build)
    log = os.path.join(directory, "log")
    server = None
    try:
        config = os.path.join(directory, "mxring.toml")
        with open(config, "w", encoding="ascii") as out:
            out.write(CONFIG.format(log_dir=log))
        server = PinnedServer([options.mxring, "serve", "-c", config], options.server_cpu)
        load(options, server, options.records)
        results = {"reading": reading(options, log)}
        results["following"] = following(options, server, log)
    except DidNotStart as error:
        fail(str(error))
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    if options.json:
        print(json.dumps(results))
    else:
        show(options, results)


if __name__ == "__main__":
    main()
