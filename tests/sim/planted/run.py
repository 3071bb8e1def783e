#!/usr/bin/env python3
"""Lets the simulator look for planted faults, and prints how soon it finds each.

    run.py --programs DIRECTORY [--jobs N] [--markdown] [NAME...]     all that are built there, or these

Exit: 0 each was found within the seeds that its file states; 1 one was not.
"""
import argparse
import glob
import os
import re
import subprocess
import sys

import plant

HERE = os.path.dirname(os.path.abspath(__file__))


def seek(program, seeds, jobs):
    """The seed that finds it, and by what; None for the seed when none does."""
    done = subprocess.run(
        [program, "--seeds", str(seeds), "--jobs", str(jobs)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=3600, check=False)
    said = re.search(r"^seed (\d+): (.*)$", done.stdout, re.M)
    if said and done.returncode == 1:
        return int(said.group(1)), said.group(2)
    if done.returncode == 0:
        return None, "not found"
    return None, f"exit {done.returncode}: {done.stdout[-200:]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    names = given.names or sorted(
        os.path.basename(path)[:-len(".fault")] for path in glob.glob(f"{HERE}/*.fault"))
    missed = 0
    for name in names:
        fault = plant.parse(f"{HERE}/{name}.fault")
        program = os.path.join(given.programs, f"mxring_sim_{name}")
        seed, finding = seek(program, fault["seeds"], given.jobs)
        missed += seed is None
        lives = "-" if seed is None else str(seed)
        finding = re.sub(r" at \S*/(src/\S+?):\d+", r" in \1", finding)
        if given.markdown:
            print(f"| {fault['what']} | {lives} | {finding[:110]} |", flush=True)
        else:
            print(f"{name:24} {lives:>5} of {fault['seeds']:<5} {finding[:150]}", flush=True)
    print(f"{len(names) - missed} of {len(names)} faults found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
