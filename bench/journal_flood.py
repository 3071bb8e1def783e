#!/usr/bin/env python3
"""Asks: what does the journal of a flood of refusals cost those who send mail meanwhile?

One shard. A client of its own asks for recipients that are not served, pipelined, so many a second;
beside it `mxring load` sends good mail at a fixed rate, each message timed from its planned moment.
Rounds with the journal on (a file, the default rate) and off follow each other in one run. Units:
the good clients' latency, and the CPU time that all threads of the server took for the same work in
the same time (flood and mail); medians of the rounds, and on against off as a ratio. A round counts
only if the flood was as fast as wanted and no mail was lost. The journal of the last round must
stand for every refusal: its `repeated` are summed.

  bench/journal_flood.py [--program FILE] [--rounds N] [--seconds S] [--flood PER_SECOND]
                         [--mail PER_SECOND] [--json]

Standard library only. Flood, load generator and server share the cores there are: the ratio is
what it measures, not the latency as such.
"""

import argparse
import json
import os
import re
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIG = """\
hostname = "bench.example"
[listen]
smtp = ["127.0.0.1:0"]
smtps = []
admin = "127.0.0.1:0"
[shards]
count = 1
[log]
dir = "{directory}/log"
segment_bytes = "64MiB"
retain_bytes = "256MiB"
[auth]
spf = false
dkim = false
dmarc = false
[recipients]
domains = ["served.example"]
[journal]
to = "{journal}"
[limits]
messages_per_connection = 1000000000
disk_reserve_percent = 0
disk_reserve_segments = 1
"""
REFUSAL = b"550 5.7.1 "
AT_ONCE = 500  # recipients in one piece


class Server:
    def __init__(self, program, journal):
        self.folder = tempfile.TemporaryDirectory(prefix="mxring-flood-", dir="/var/tmp")
        self.journal = os.path.join(self.folder.name, "journal") if journal else ""
        config = os.path.join(self.folder.name, "mxring.toml")
        with open(config, "w") as out:
            out.write(CONFIG.format(directory=self.folder.name, journal=self.journal))
        self.process = subprocess.Popen([program, "serve", "-c", config], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        ready = dict(part.split("=", 1) for part in line.split()[1:])
        host, port = ready["smtp"].rsplit(":", 1)
        self.address, self.admin = (host, int(port)), ready["admin"]

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as text:
            fields = text.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def refusals(self):
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return int(re.search(r'(?m)^mxring_refusals_total\{reply="550 5.7.1"\} (\d+)$', text)[1])

    def told(self):
        """How many refusals the journal's lines stand for."""
        with open(self.journal) as lines:
            return sum(line["repeated"] for line in map(json.loads, lines)
                       if (line["reply"] or "").startswith("550 5.7.1"))

    def stop(self):
        self.process.terminate()
        code = self.process.wait(60)
        self.process.stdout.close()
        if code != 0:
            raise SystemExit(f"the server ended with {code}")


class Flood(threading.Thread):
    """Refusals at a fixed pace, in pieces; `done` counts the replies."""

    def __init__(self, address, per_second):
        super().__init__(daemon=True)
        self.socket = socket.create_connection(address)
        self.per_second = per_second
        self.done = 0
        self.ends = False
        self.buffer = b""
        self.socket.sendall(b"EHLO flood.example\r\nMAIL FROM:<a@flood.example>\r\n")
        self.read_until(lambda: b"2.1.0" in self.buffer)
        self.buffer = b""
        self.start()

    def read_until(self, enough):
        while not enough():
            self.buffer += self.socket.recv(1 << 20)

    def run(self):
        piece = b"RCPT TO:<b@elsewhere.example>\r\n" * AT_ONCE
        begun = time.monotonic()
        sent = 0
        tail = b""
        while not self.ends:
            due = int((time.monotonic() - begun) * self.per_second)
            if sent < due and sent - self.done < 20 * AT_ONCE:
                self.socket.sendall(piece)
                sent += AT_ONCE
            wait = 0.001 if sent >= due else 0
            if select.select([self.socket], [], [], wait)[0]:
                data = tail + self.socket.recv(1 << 20)
                self.done += data.count(REFUSAL)
                tail = data[-(len(REFUSAL) - 1):]
        self.socket.shutdown(socket.SHUT_WR)
        while data := self.socket.recv(1 << 20):
            data = tail + data
            self.done += data.count(REFUSAL)
            tail = data[-(len(REFUSAL) - 1):]
        self.socket.close()


def one_round(options, journal):
    server = Server(options.program, journal)
    flood = Flood(server.address, options.flood)
    time.sleep(0.3)
    before, cpu_before, at = flood.done, server.cpu_s(), time.monotonic()
    load = subprocess.run(
        [options.program, "load", "%s:%d" % server.address, "--connections", "8", "--rate",
         str(options.mail), "--duration", f"{options.seconds}s", "--size", "4KiB", "--rcpt-to",
         "b@served.example", "--json"], stdout=subprocess.PIPE, check=True)
    seconds = time.monotonic() - at
    cpu = server.cpu_s() - cpu_before
    refused = flood.done - before
    flood.ends = True
    flood.join()
    said = json.loads(load.stdout)
    if said["errors"] or said["accepted"] != said["sent"]:
        raise SystemExit(f"mail was lost: {said}")
    counted = server.refusals()
    if counted != flood.done:
        raise SystemExit(f"{counted} refusals were counted, {flood.done} were read")
    server.stop()
    if journal and server.told() != flood.done:
        raise SystemExit(f"the journal stands for {server.told()} refusals of {flood.done}")
    server.folder.cleanup()
    return {"p50": said["latency_us"]["p50"], "p99": said["latency_us"]["p99"],
            "cpu_us_per_refusal": cpu * 1e6 / refused, "refusals": refused / seconds}


def main():
    parser = argparse.ArgumentParser(description="the journal's cost during a flood of refusals")
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "release", "mxring"))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--flood", type=int, default=100_000)
    parser.add_argument("--mail", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds = {True: [], False: []}
    left_out = 0
    for number in range(options.rounds):
        for journal in ((True, False) if number % 2 == 0 else (False, True)):
            result = one_round(options, journal)
            if result["refusals"] < 0.9 * options.flood:
                left_out += 1
                continue
            rounds[journal].append(result)
    if min(map(len, rounds.values())) < 2:
        raise SystemExit(f"this host refuses fewer than {options.flood} a second in "
                         f"{left_out} rounds: ask for less with --flood")
    medians = {name: {key: statistics.median(r[key] for r in rounds[on]) for key in rounds[on][0]}
               for name, on in (("on", True), ("off", False))}
    ratios = {key: medians["on"][key] / medians["off"][key] for key in medians["on"]}
    spread = {key: max(r[key] for r in rounds[False]) / min(r[key] for r in rounds[False])
              for key in medians["off"]}
    if options.json:
        print(json.dumps({**medians, "ratio": ratios, "spread_off": spread, "left_out": left_out}))
        return
    print(f"{'':<22}{'on':>12}{'off':>12}{'on/off':>9}{'spread of off':>15}")
    for key in medians["on"]:
        print(f"{key:<22}{medians['on'][key]:>12.1f}{medians['off'][key]:>12.1f}"
              f"{ratios[key]:>9.3f}{spread[key]:>15.2f}")
    if left_out:
        print(f"{left_out} rounds were too slow for the flood and do not count")


if __name__ == "__main__":
    sys.exit(main())
