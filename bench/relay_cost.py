"""What a relay costs for each record, beside the budgets: one log, each sink in turn, in one run.

Question: CPU of mxring-relay (user and system, all threads) for a record of 10 KiB, and the records a
second it comes to against a receiver on the same cores (the webhook's is Python, whose rate says little).
Input: a log that `mxring load` has filled, read from the beginning. Unit: microseconds; median of the
rounds. The engine alone is a relay whose filter takes nothing.

  relay_cost.py --binary build/release/mxring [--records N] [--rounds N]
"""

import argparse
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

BUDGETS = {"engine": "3 + reading 20", "maildir": 100, "webhook": 70, "lmtp": 40, "nats": 55}


def cpu_us(pid):
    """Of all threads; to the nanosecond, where /proc/PID/stat counts in hundredths of a second."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
            total += int(stat.read().split()[0])
    return total / 1000


def rss_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0


def describe(mxtest, log, group):
    import json
    done = subprocess.run([mxtest.BINARY, "groups", "describe", log, group, "--json"],
                          capture_output=True, check=True)
    return json.loads(done.stdout)["groups"][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="one sink")
    arguments = parser.parse_args()
    os.environ["MXRING_BINARY"] = os.path.abspath(arguments.binary)
    import mxtest
    import relay_lmtp_test
    import relay_nats_test
    from relay_demo import Stage
    from relay_program import Hook, Relay

    scratch = os.path.join(os.path.dirname(os.environ["MXRING_BINARY"]), "relay-cost")
    os.makedirs(scratch, exist_ok=True)
    stage = Stage(tempfile.mkdtemp(dir=scratch))
    try:
        server = mxtest.Server(stage.directory)
        stage.addCleanup(server.kill)
        subprocess.run([mxtest.BINARY, "load", f"127.0.0.1:{server.port}", "--messages",
                        str(arguments.records), "--size", "10KiB", "--connections", "8", "--json"],
                       check=True, stdout=subprocess.DEVNULL)
        hook = Hook(stage)
        peer = relay_lmtp_test.Peer(stage, extensions=("PIPELINING", "CHUNKING", "8BITMIME"))
        sinks = {
            "engine": {"maildir": {"path": os.path.join(stage.directory, "none")},
                       "filter": {"recipients": ["nobody@nowhere.test"]}},
            "maildir": {"maildir": {"path": os.path.join(stage.directory, "mail{}")}},
            "webhook": {"webhook": {"url": hook.url, "allow_private": True, "order": "none",
                                    "connections": 8}},
            "lmtp": {"lmtp": {"address": peer.address}},
        }
        if stage.need("nats-server"):
            nodes = relay_nats_test.Nodes(stage)
            sinks["nats"] = {"nats": {"servers": nodes.servers(), "stream": "M{}"}}
        if arguments.only:
            sinks = {arguments.only: sinks[arguments.only]}
        results = {name: [] for name in sinks}
        for number in range(arguments.rounds):
            for name, config in sinks.items():
                group = f"{name}{number}"
                config = {k: {a: (b.format(number) if isinstance(b, str) and a in ("path", "stream")
                                  else b) for a, b in v.items()} for k, v in config.items()}
                config[""] = {"group": group, "log": server.log_dir}
                start = time.monotonic()
                relay = Relay(stage, config, name=group)
                while describe(mxtest, server.log_dir, group)["current"] < arguments.records:
                    time.sleep(0.05)
                seconds = time.monotonic() - start
                time.sleep(0.3)  # the last commit is part of it
                results[name].append((cpu_us(relay.process.pid) / arguments.records,
                                      arguments.records / seconds, rss_mib(relay.process.pid)))
                assert relay.stop() == 0, relay.stderr()
        print(f"| sink | CPU, us a record | budget | records a second | memory, MiB |")
        print("|---|---|---|---|---|")
        for name, rounds in results.items():
            cpu, rate, memory = (statistics.median(column) for column in zip(*rounds))
            print(f"| {name} | {cpu:.1f} | {BUDGETS[name]} | {rate:,.0f} | {memory:.1f} |")
        return 0
    finally:
        stage.end()
        shutil.rmtree(stage.directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
