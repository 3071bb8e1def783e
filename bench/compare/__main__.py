#!/usr/bin/env python3
"""Asks: what does receiving one message cost, in mxring, in a program that does nothing with it,
and in what people would use instead?

Runs the servers one after the other, in interleaved rounds so that a change of the machine's mood
hits all of them, with Postfix smtp-source as the client. The server is pinned to one core and the
client to another. The unit is CPU time of all the server's processes per message, user and system,
those that have ended included, and messages per second as the client saw them. A run counts only
when the server accepted every message, and stored or verified it when that is its work.

  bench/compare.py [--build DIR] [--quick] [--json]    mxring, the null sink, smtp-sink
  bench/compare.py --peers [--svg FILE]                and everybody else that is installed here

Standard library only. Needs smtp-source and smtp-sink (Debian: postfix) and taskset (util-linux);
bench/peers.py fetches the others.
"""

import argparse
import collections
import json
import os
import platform
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # the modules beside this file leave nothing in the source tree

import daemons
import ours
import results as reporting
import scripts
from server import Problem, Skip, program
from zone import DOMAIN, Zone

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MESSAGES = {1: 20_000, 10: 20_000, 100: 5_000}  # by size in KiB
QUICK_MESSAGES = {1: 5_000, 10: 5_000, 100: 1_000}
# So many for each server that a run takes seconds, whatever it costs.
PEER_SECONDS = 3.0
PEER_QUICK_SECONDS = 1.0
PEER_MESSAGES_MIN = 200
WITHOUT_PEERS = ("null sink", "mxring, sync commit", "mxring, sync none", "smtp-sink")


def send(options, server, messages, size_kib):
    """Runs the client; its wall time. It ends with an error at the first reply that is not 2xx."""
    command = [program("taskset"), "-c", str(options.client_cpu), program("smtp-source"), "-d",
               "-s", str(min(options.sessions, messages)), "-m", str(messages)]
    if server.work == "verify":
        command += ["-F", options.zone.message, "-f", f"bench@{DOMAIN}", "-M", DOMAIN]
    else:
        command += ["-l", str(size_kib * 1024), "-f", "bench@client.example"]
    command += ["-t", "sink@bench.example", f"127.0.0.1:{server.port}"]
    begin = time.monotonic()
    try:
        client = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        raise Problem("smtp-source did not finish within ten minutes") from None
    seconds = time.monotonic() - begin
    # It complains about a reply and may still end with 0.
    complaint = (client.stderr.strip() or client.stdout.strip()).splitlines()
    if client.returncode != 0 or any("fatal" in line or "reject" in line for line in complaint):
        raise Problem(f"smtp-source: {complaint[-1] if complaint else client.returncode}")
    return seconds


def measure(options, server, messages, size_kib):
    """One run: start, warm up, measure, stop. Without a number of messages, as many as fill the
    time."""
    warm_up = max(options.sessions, messages // 10) if messages else PEER_MESSAGES_MIN
    try:
        server.start()
        warm_seconds = send(options, server, warm_up, size_kib)
        if not messages:
            messages = int(options.peer_seconds * warm_up / warm_seconds)
            messages = min(max(messages, PEER_MESSAGES_MIN), MESSAGES[size_kib])
        before = server.counters()
        cpu = server.cpu_seconds()
        seconds = send(options, server, messages, size_kib)
        cpu = server.cpu_seconds() - cpu
        memory = server.account.memory_bytes()
        figures = server.derive(before, server.counters(), messages)
        figures.update(server.finish(warm_up + messages))
    except Problem as problem:
        raise Problem(f"{server.name}, {size_kib} KiB: {problem}") from None
    finally:
        server.stop()
    figures.update(cpu_us=cpu / messages * 1e6, rate=messages / seconds, memory=memory)
    return figures


def chosen(options):
    everything = ours.SERVERS + scripts.SERVERS + daemons.SERVERS
    if options.only:
        return [kind for kind in everything if kind.name in options.only]
    if options.peers:
        return everything
    return [kind for kind in everything if kind.name in WITHOUT_PEERS]


def run_rounds(options, say):
    """{size: {server name: [figures of each round]}} and {server name: why it was not run}."""
    kinds = chosen(options)
    results = {size: collections.defaultdict(list) for size in options.sizes}
    skipped = {}
    for size in options.sizes:
        options.zone = Zone(options)
        try:
            if any(kind.work == "verify" for kind in kinds):
                try:
                    options.zone.start(size)
                except Skip as why:
                    skipped.update({kind.name: str(why) for kind in kinds
                                    if kind.work == "verify"})
            for number in range(options.rounds):
                for kind in kinds:
                    if kind.name in skipped:
                        continue
                    say(f"round {number + 1} of {options.rounds}: {size} KiB, {kind.name}")
                    messages = options.messages[size] if kind.name in WITHOUT_PEERS else 0
                    try:
                        figures = measure(options, kind(options), messages, size)
                    except Skip as why:
                        skipped[kind.name] = str(why)
                        continue
                    except Problem as why:
                        # A peer that fails is listed; a failure of our own is one.
                        if not options.peers or kind.__module__ == "ours":
                            raise
                        skipped[kind.name] = str(why)
                        continue
                    results[size][kind.name].append(figures)
        finally:
            options.zone.stop()
    return results, skipped


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return re.search(r"model name\s*: (.*)", file.read())[1]
    except (OSError, TypeError):
        return platform.machine()


def parse_options():
    parser = argparse.ArgumentParser(
        prog="compare", description=__doc__.split("\n\n")[0], epilog=__doc__.split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"),
                        help="build folder that has the programs (default: build/release)")
    parser.add_argument("--null-sink", help="path of null_sink")
    parser.add_argument("--mxring", help="path of mxring")
    parser.add_argument("--log-parent", help="folder for mxring's logs, on the disk to be measured "
                                             "(default: the build folder)")
    parser.add_argument("--peers", action="store_true", help="with everybody else")
    parser.add_argument("--peers-dir", default=os.path.join(ROOT, "build", "peers"),
                        help="where bench/peers.py has put them (default: build/peers)")
    parser.add_argument("--only", action="append", help="a server by its name; repeatable")
    parser.add_argument("--svg", help="write the chart here")
    parser.add_argument("--rounds", type=int, help="default 5, with --peers 3")
    parser.add_argument("--sessions", type=int, help="connections, kept alive; default 64, with "
                                                     "--peers 32")
    parser.add_argument("--sizes", help="message sizes in KiB, of 1,10,100; default all, with "
                                        "--peers 10")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one short round: does it all run?")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    try:
        sizes = options.sizes or ("10" if options.peers else "1,10,100")
        options.sizes = [int(size) for size in sizes.split(",")]
    except ValueError:
        parser.error("--sizes: numbers with commas between them")
    if not set(options.sizes) <= set(MESSAGES):
        parser.error("--sizes: of 1, 10 and 100")
    names = {kind.name for kind in ours.SERVERS + scripts.SERVERS + daemons.SERVERS}
    if options.only and not set(options.only) <= names:
        parser.error(f"--only: of {', '.join(sorted(names))}")
    options.messages = QUICK_MESSAGES if options.quick else MESSAGES
    options.peer_seconds = PEER_QUICK_SECONDS if options.quick else PEER_SECONDS
    options.rounds = options.rounds or (1 if options.quick else 3 if options.peers else 5)
    options.sessions = options.sessions or (32 if options.peers else 64)
    options.null_sink = options.null_sink or os.path.join(options.build, "bench", "null_sink")
    options.mxring = options.mxring or os.path.join(options.build, "mxring")
    options.log_parent = os.path.abspath(options.log_parent or options.build)
    if not os.path.isdir(options.log_parent):
        parser.error(f"no such folder: {options.log_parent} (--build or --log-parent)")
    return options


def report(options, machine, results, skipped):
    described = {kind.name: (kind.work, kind.comment) for kind in chosen(options)}
    rows = reporting.summary(results, described)
    headline = (f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, "
                f"{machine['date']}, load {machine['load_at_start']:.1f} at the start")
    if options.svg and rows:
        largest = max(options.sizes, key=lambda size: size == 10)  # 10 KiB when it was measured
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(reporting.chart(
                [row for row in rows if row["size_kib"] == largest],
                f"What one message of {largest} KiB costs its receiver", headline))
    if options.json:
        print(json.dumps({"machine": machine, "sessions": options.sessions,
                          "rounds": options.rounds, "messages": options.messages,
                          "results": rows, "skipped": skipped}))
        return
    print(f"{headline};\n{options.sessions} kept-alive sessions without pipelining, interleaved "
          f"rounds: {options.rounds};\nserver on core {options.server_cpu}, client (smtp-source) "
          f"on core {options.client_cpu}; medians\n")
    if options.peers:
        reporting.print_peers(rows)
    else:
        reporting.print_receivers(rows)
    if skipped:
        print("\nnot run")
        for name, why in skipped.items():
            print(f"  {name}: {why}")


def main():
    options = parse_options()
    try:
        program("smtp-source")
        program("taskset")
    except Skip as why:
        print(f"compare: {why} (Debian: apt-get install postfix util-linux)", file=sys.stderr)
        return 1
    on_terminal = sys.stderr.isatty()
    machine = {"processor": processor(), "cores": os.cpu_count(), "kernel": platform.release(),
               "date": time.strftime("%Y-%m-%d"), "load_at_start": os.getloadavg()[0]}

    def say(text):
        if on_terminal:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    try:
        results, skipped = run_rounds(options, say)
    except Problem as problem:
        say("")
        print(f"compare: {problem}", file=sys.stderr)
        return 1
    say("")
    report(options, machine, results, skipped)
    return 0


if __name__ == "__main__":
    sys.exit(main())
