#!/usr/bin/env python3
"""Asks: what does the load generator itself cost per message, next to Postfix smtp-source?

Both send the same work to the null sink: 10 KiB messages over 32 kept-alive connections, commands
one by one. They take turns, so that a change of the machine's mood hits both. The unit is CPU time
of the whole client process per message, user and system, from its start to its end, as the kernel
accounts it to the parent (wait4). smtp-source sends one buffer again and again; mxring load sends a
different message each time.

  bench/load_cost.py [--build DIR] [--rounds N] [--messages N] [--size BYTES] [--connections N]

Standard library only. Needs smtp-source (Debian: postfix) and two cores.
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SENDER = "a@b.example"
RECIPIENT = "c@d.example"


def fail(text):
    print(f"load_cost: {text}", file=sys.stderr)
    sys.exit(1)


def program(name, package):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        fail(f"{name} is not installed (Debian: apt-get install {package})")
    return path


def existing(path):
    if not os.path.exists(path):
        fail(f"{path} is not there; build it first, or name the build folder with --build")
    return path


class Sink:
    """The null sink on a port of its own; it counts the messages it was given."""

    def __init__(self, path, cpu):
        self.process = subprocess.Popen([path, "--listen", "127.0.0.1:0", "--cpu", str(cpu)],
                                        stdout=subprocess.PIPE, text=True)
        ready = re.match(r"ready (\S+):(\d+)", self.process.stdout.readline())
        if ready is None:
            fail("the null sink did not start")
        self.port = int(ready[2])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=30)
        return int(re.search(r"messages (\d+)", output)[1])


def clients(options):
    """{name: command}; PORT stands for the sink's port."""
    count, size = str(options.messages), str(options.size)
    connections = str(options.connections)
    source = program("smtp-source", "postfix")
    load = existing(os.path.join(options.build, "mxring"))
    common = [load, "load", "127.0.0.1:PORT", "--connections", connections, "--messages", count,
              "--size", size, "--messages-per-connection", "0", "--mail-from", SENDER,
              "--rcpt-to", RECIPIENT]
    return {
        "smtp-source": [source, "-d", "-s", connections, "-l", size, "-m", count, "-f", SENDER,
                        "-t", RECIPIENT, "127.0.0.1:PORT"],
        "mxring load": common,
        "mxring load, pipelining": [*common, "--pipelining", "on"],
    }


def run_once(command, options):
    """One client against a sink of its own: CPU microseconds per message, and messages/s."""
    sink = Sink(existing(os.path.join(options.build, "bench", "null_sink")), options.server_cpu)
    command = [word.replace("PORT", str(sink.port)) for word in command]
    pin = [program("taskset", "util-linux"), "-c", str(options.client_cpu)]
    begin = time.monotonic()
    client = subprocess.Popen(pin + command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(client.pid, 0)
    seconds = time.monotonic() - begin
    client.returncode = os.waitstatus_to_exitcode(status)
    taken = sink.stop()
    if client.returncode != 0 or taken != options.messages:
        fail(f"{command[0]} ended with {client.returncode}; the sink took {taken} messages, "
             f"not {options.messages}")
    return {"user": usage.ru_utime / taken * 1e6, "system": usage.ru_stime / taken * 1e6,
            "cpu": (usage.ru_utime + usage.ru_stime) / taken * 1e6, "rate": taken / seconds}


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--size", type=int, default=10_240)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    return parser.parse_args()


def main():
    options = parse_options()
    commands = clients(options)
    results = {name: [] for name in commands}
    load_before = os.getloadavg()[0]
    for number in range(options.rounds):
        for name, command in commands.items():
            if sys.stderr.isatty():
                print(f"\r\033[Kround {number + 1} of {options.rounds}: {name}", end="",
                      file=sys.stderr, flush=True)
            results[name].append(run_once(command, options))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)

    print(f"{options.messages} messages of {options.size} bytes, {options.connections} kept-alive "
          f"connections, {options.rounds} interleaved rounds, medians; load {load_before:.1f} at "
          "the start\n")
    print(f"{'client':<25}{'CPU us/msg':>11}{'min - max':>16}{'user':>7}{'system':>8}"
          f"{'msg/s':>9}{'ratio':>7}")
    floor = statistics.median(r["cpu"] for r in results["smtp-source"])
    for name, rounds in results.items():
        def median(key):
            return statistics.median(r[key] for r in rounds)
        low, high = min(r["cpu"] for r in rounds), max(r["cpu"] for r in rounds)
        print(f"{name:<25}{median('cpu'):>11.1f}{f'{low:.1f} - {high:.1f}':>16}"
              f"{median('user'):>7.1f}{median('system'):>8.1f}{median('rate'):>9.0f}"
              f"{median('cpu') / floor:>7.2f}")
    print(f"\nratio: to smtp-source; below 1 the generator is the cheaper one\n"
          f"smtp-source: {' '.join(commands['smtp-source'])}")
    print(f"mxring load: {' '.join(['mxring'] + commands['mxring load'][1:])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
