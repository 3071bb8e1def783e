#!/usr/bin/env python3
"""Asks: what does the verdict on a message cost, and how fast is a server that gives one to each?

On one core, one after the other in interleaved rounds: a program that receives and forgets (the
null sink), mxring without verdicts, with DKIM alone, and with SPF, DKIM and DMARC for genuine mail,
spoofed mail and half of each. mxring stores durably before it says 250. The genuine messages are
signed (rsa-2048, relaxed/relaxed); the spoofed ones claim the same From domain, whose policy is
reject, and are refused. DNS answers are cached. The unit is the CPU time of all threads of the
server per message (schedstat), medians of the rounds; the load generator has another core.

  bench/verdict_cost.py [--build DIR] [--rounds N] [--messages N] [--size BYTES] [--json]

Standard library only. Needs taskset (util-linux) and two cores.
"""

import argparse
import json
import os
import random
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
from spf_cost import TXT, Responder  # noqa: E402

MESSAGES_MADE = 64
CONFIG = """\
hostname = "bench.example"
[listen]
smtp = ["127.0.0.1:0"]
smtps = []
[shards]
count = 1
[log]
dir = "{log_dir}"
segment_bytes = "64MiB"
retain_bytes = "256MiB"
[dns]
servers = ["{dns}"]
[auth]
spf = {spf}
dkim = {dkim}
dmarc = {dmarc}
[limits]
messages_per_connection = 1000000000
disk_reserve_percent = 0
disk_reserve_segments = 1
"""
# What is measured: server, folder of messages, and how many of them are to be accepted.
ROWS = {
    "null sink": ("null", "genuine", 1),
    "no verdicts": ("off", "genuine", 1),
    "DKIM": ("dkim", "genuine", 1),
    "all, genuine": ("all", "genuine", 1),
    "all, spoofed": ("all", "spoofed", 0),
    "all, half of each": ("all", "mixed", 0.5),
}
SERVERS = {"off": (), "dkim": ("dkim",), "all": ("spf", "dkim", "dmarc")}


def fail(text):
    print(f"verdict_cost: {text}", file=sys.stderr)
    sys.exit(1)


class Server(PinnedServer):
    def burst(self, options, folder, accepted):
        before = self.cpu_ns()
        done = subprocess.run(
            ["taskset", "-c", str(options.client_cpu), options.mxring, "load", self.address,
             "--connections", str(options.connections), "--messages", str(options.messages),
             "--messages-per-connection", "0", "--message", folder, "--mail-from",
             "x@bounce.example", "--rcpt-to", "b@bench.example", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        result = json.loads(done.stdout or "{}")
        # Messages are taken in turn, so the counts are known but for the last round of each.
        if abs(result.get("accepted", -1) - accepted * options.messages) > MESSAGES_MADE:
            fail(f"{accepted:.0%} were to be accepted: {done.stdout.decode()}")
        time.sleep(0.01)  # the writer's last turn
        latency = result["latency_us"]
        return {"cpu_us": (self.cpu_ns() - before) / options.messages / 1000,
                "rate": result["sent"] / result["seconds"],
                "p50_us": latency["p50"] or 0, "p99_us": latency["p99"] or 0}


def make_messages(options, directory):
    """Folders genuine, spoofed and mixed; returns the key's record."""
    key = json.loads(subprocess.run(
        [options.mxring, "dkim", "keygen", "--domain", "sender.example", "--selector", "s1",
         "--out", directory, "--json"], stdout=subprocess.PIPE, check=True).stdout)
    words = random.Random(1)
    for folder in ("genuine", "spoofed", "mixed"):
        os.mkdir(os.path.join(directory, folder))
    for number in range(MESSAGES_MADE):
        body = ""
        while len(body) < options.size:
            line = " ".join("".join(words.choices("aeinorstlmd", k=words.randint(2, 9)))
                            for _ in range(9))
            body += line[:74] + "\r\n"
        plain = os.path.join(directory, "spoofed", f"{number:02}.eml")
        with open(plain, "w", encoding="ascii", newline="") as file:
            file.write(f"From: Ann <ann@sender.example>\r\nTo: b@bench.example\r\n"
                       f"Subject: number {number}\r\nMessage-ID: <{number}@sender.example>\r\n"
                       f"Date: Sun, 22 Nov 2026 09:00:00 +0000\r\n\r\n{body}")
        signed = subprocess.run(
            [options.mxring, "dkim", "sign", "--key", key["private_key_file"],
             "--domain", "sender.example", "--selector", "s1", plain],
            stdout=subprocess.PIPE, check=True).stdout
        for folder in ("genuine", "mixed"):
            with open(os.path.join(directory, folder, f"{number:02}a.eml"), "wb") as file:
                file.write(signed)
        shutil.copy(plain, os.path.join(directory, "mixed", f"{number:02}b.eml"))
    return key["record_value"]


def measure(options, directory):
    record = make_messages(options, directory)
    responder = Responder({
        ("bounce.example", TXT): ["v=spf1 ip4:127.0.0.1 -all"],
        ("_dmarc.sender.example", TXT): ["v=DMARC1; p=reject"],
        ("s1._domainkey.sender.example", TXT): [record],
    })
    responder.start()
    servers = {"null": Server([options.null_sink, "--listen", "127.0.0.1:0"], options.server_cpu)}
    results = {row: [] for row in ROWS}
    try:
        for name, methods in SERVERS.items():
            config = os.path.join(directory, f"{name}.toml")
            with open(config, "w", encoding="ascii") as out:
                out.write(CONFIG.format(
                    log_dir=os.path.join(directory, f"{name}.log"), dns=responder.address,
                    **{m: str(m in methods).lower() for m in ("spf", "dkim", "dmarc")}))
            servers[name] = Server([options.mxring, "serve", "-c", config], options.server_cpu)
        for turn in range(-1, options.rounds):  # the first one warms everything up
            for row, (server, folder, accepted) in ROWS.items():
                if sys.stderr.isatty():
                    print(f"\r\033[Kround {max(turn + 1, 0)} of {options.rounds}: {row}", end="",
                          file=sys.stderr, flush=True)
                taken = servers[server].burst(options, os.path.join(directory, folder), accepted)
                if turn >= 0:
                    results[row].append(taken)
    finally:
        for server in servers.values():
            server.stop()
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
    return {row: {"cpu_us_min": min(t["cpu_us"] for t in taken),
                  "cpu_us_max": max(t["cpu_us"] for t in taken),
                  **{key: statistics.median(t[key] for t in taken) for key in taken[0]}}
            for row, taken in results.items()}


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--messages", type=int, default=12_800)
    parser.add_argument("--size", type=int, default=10_240, help="of a body, about")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.mxring = os.path.join(options.build, "mxring")
    options.null_sink = os.path.join(options.build, "bench", "null_sink")
    for path in (options.mxring, options.null_sink):
        if not os.path.exists(path):
            fail(f"{path} is not there; build it first, or name the folder with --build")
    if shutil.which("taskset") is None:
        fail("taskset is not installed (Debian: apt-get install util-linux)")
    return options


def main():
    options = parse_options()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="mxring-verdict.", dir="/var/tmp") as directory:
        try:
            results = measure(options, directory)
        except DidNotStart as problem:
            fail(problem)
    if options.json:
        print(json.dumps(results))
        return 0
    print(f"{options.rounds} rounds of {options.messages} messages of {options.size} bytes over "
          f"{options.connections} connections; load {load_before:.1f} at the start\n")
    print(f"{'':<20}{'CPU us/msg':>11}{'min - max':>16}{'ratio':>7}{'msg/s':>9}{'p50 ms':>8}"
          f"{'p99 ms':>8}")
    null = results["null sink"]["cpu_us"]
    for row, r in results.items():
        spread = f"{r['cpu_us_min']:.1f} - {r['cpu_us_max']:.1f}"
        times = (f"{r['p50_us'] / 1000:>8.2f}{r['p99_us'] / 1000:>8.2f}" if r["p50_us"]
                 else f"{'-':>8}{'-':>8}")
        print(f"{row:<20}{r['cpu_us']:>11.1f}{spread:>16}{r['cpu_us'] / null:>7.2f}"
              f"{r['rate']:>9.0f}{times}")
    print("\nLatency is that of accepted messages, from the end of data to the 250.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
