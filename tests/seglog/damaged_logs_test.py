"""A thousand damaged logs: the readers in C++ and in Python show the same of each, record by record
and gap by gap, and meet the same errors. seglog_damaged_logs makes them.

    damaged_logs_test.py PROGRAM [FIRST COUNT]
"""

import collections
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "include", "python"))

import mxringlog  # noqa: E402
from mxringlog._crc import choose  # noqa: E402

CRC = choose()[1]
AT_A_TIME = 50


def entries(log):
    """As the program prints them."""
    gap = None
    try:
        for entry in log.records(refused=True):
            if isinstance(entry, mxringlog.Gap):
                if gap and (gap.next, gap.why) == (entry.first, entry.why):
                    gap = gap._replace(next=entry.next)
                else:
                    if gap:
                        yield f"-{gap.first}:{gap.next}:{gap.why}"
                    gap = entry
                continue
            if gap:
                yield f"-{gap.first}:{gap.next}:{gap.why}"
                gap = None
            yield f"{entry.offset}:{CRC(0, entry.message + entry.metadata):08x}"
        if gap:
            yield f"-{gap.first}:{gap.next}:{gap.why}"
    except mxringlog.LogError:
        if gap:
            yield f"-{gap.first}:{gap.next}:{gap.why}"
        yield "E"


def python_line(place):
    """(entries, end)"""
    try:
        log = mxringlog.Log(place)
        shown = list(entries(log))
        return shown, None if shown[-1:] == ["E"] else log.end
    except mxringlog.LogError:
        return ["E"], None


def main():
    program = sys.argv[1]
    first, count = (int(text) for text in sys.argv[2:4]) if len(sys.argv) > 2 else (0, 1000)
    total = collections.Counter()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    for begin in range(first, first + count, AT_A_TIME):
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            some = min(AT_A_TIME, first + count - begin)
            run = subprocess.run([program, folder, str(begin), str(some)], capture_output=True,
                                 text=True, timeout=250)
            if run.returncode != 0:
                sys.exit(f"{run.stdout[-500:]}{run.stderr[-4000:]}")
            lines = run.stdout.splitlines()
            assert len(lines) == some, len(lines)
            for line in lines:
                seed, end, *theirs = line.split()
                ours, our_end = python_line(os.path.join(folder, seed))
                failed = theirs[-1:] == ["E"]
                if failed and ours[-1:] == ["E"]:
                    # Where the newest file cannot be read one of them says so before it begins.
                    ours, our_end = ours[:-1] + theirs[len(ours) - 1:], None
                if ours != theirs or (our_end is not None and our_end != int(end)):
                    kept = tempfile.mkdtemp(prefix="damaged-log-")
                    shutil.copytree(os.path.join(folder, seed), kept, dirs_exist_ok=True)
                    sys.exit(f"seed {seed} (kept in {kept}): C++ and Python differ\n"
                             f"  {end} {' '.join(theirs)}\n  {our_end} {' '.join(ours)}")
                total["errors"] += failed
                for entry in theirs:
                    total["gaps"] += entry.startswith("-")
                    total["records"] += entry[0].isdigit()
    print(f"{count} logs: {total['records']} records, {total['gaps']} gaps, {total['errors']} "
          "logs with an error")
    # Whatever the seed, the damage was seen: else nothing has been compared.
    assert total["gaps"] > count // 4 and total["errors"] > 0, total


if __name__ == "__main__":
    main()
