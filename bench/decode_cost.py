#!/usr/bin/env python3
"""What does a bounce cost as facts, in microseconds of one core?

The same messages (the corpus of bounces beside the repository, or our sample) through decode_bench and
through Python's email, in turn, in one run; the least of the rounds. Python parses, walks and decodes
every part, and finds no facts.

    bench/decode_cost.py [--build build/release] [--rounds 5] [--json]
"""

import argparse
import email
import email.policy
import json
import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def python_us(messages):
    begun = time.process_time()
    for message in messages:
        for part in email.message_from_bytes(message).walk():
            if not part.is_multipart():
                part.get_payload(decode=True)
    return (time.process_time() - begun) / len(messages) * 1e6


def bench_us(program):
    run = subprocess.run([program, "--benchmark_filter=bounce|plain", "--benchmark_format=json",
                          "--benchmark_min_time=0.2"], capture_output=True, check=True, timeout=300)
    return {line["name"]: line["cpu_time"] / 1000 for line in json.loads(run.stdout)["benchmarks"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=str(ROOT / "build/release"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    folder = ROOT.parent / "shared/corpora/bounce-sisimai/bsd"
    paths = sorted(folder.glob("*.eml")) or [ROOT / "tests/decode/samples/bounce.eml"]
    messages = [path.read_bytes() for path in paths]
    least = {}
    for _ in range(arguments.rounds):
        figures = bench_us(f"{arguments.build}/bench/decode_bench")
        figures["bounce_python_email"] = python_us(messages)
        for name, value in figures.items():
            least[name] = min(value, least.get(name, value))
    if arguments.json:
        print(json.dumps({"messages": len(messages), "us": least}))
        return
    print(f"{len(messages)} bounces, microseconds of CPU a message, least of {arguments.rounds}")
    for name, value in sorted(least.items(), key=lambda item: item[1]):
        print(f"{name:<28}{value:10.1f}")


if __name__ == "__main__":
    main()
