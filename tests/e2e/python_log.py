"""What the tests of mxringlog share; importing it makes the package importable."""

import json
import os
import re
import shutil
import sys

import mxtest
from mxtest import Log, Wire, sample_message

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PACKAGE = os.path.join(ROOT, "include", "python")
GOLDEN = os.path.join(ROOT, "tests", "corpus", "log_format_1")
TAKEN_FROM_THE_HEADER = ("message_id", "from", "subject", "queue_id")
sys.path.insert(0, PACKAGE)

import mxringlog  # noqa: E402
from mxringlog import Gap  # noqa: E402


def worked_example():
    """The segment and the cursor slot that FORMAT.md shows in hexadecimal."""
    with open(os.path.join(ROOT, "src", "seglog", "FORMAT.md")) as text:
        blocks = re.findall(r"```hex\n(.*?)```", text.read(), re.S)
    images = []
    for block, size in zip(blocks, (12352, 8192)):
        image = bytearray(size)
        for at, row in re.findall(r"^([0-9a-f]{5})  ((?:[0-9a-f]{2} ){16})", block, re.M):
            image[int(at, 16):int(at, 16) + 16] = bytes.fromhex(row)
        images.append(bytes(image))
    return images


def read(path):
    with open(path) as text:
        return text.read()


def copy_log(log, place):
    """Without the socket of a server that was killed."""
    shutil.copytree(log, place, ignore=shutil.ignore_patterns("control", "*.tmp"))


def split(entries):
    """(records, [(first, next, why)] with neighbours made one)."""
    records, gaps = [], []
    for entry in entries:
        if not isinstance(entry, Gap):
            records.append(entry)
        elif gaps and gaps[-1][1:] == (entry.first, entry.why):
            gaps[-1] = (gaps[-1][0], entry.next, entry.why)
        else:
            gaps.append(tuple(entry))
    return records, gaps


class Case(mxtest.TestCase):
    CONFIG = {"log": {"segment_bytes": "4MiB"},
              "limits": {"message_size": "1MiB", "memory": "64MiB"}}

    def start(self, **log):
        config = {**self.CONFIG, "log": {**self.CONFIG["log"], **log}}
        self.server = self.serve(config)
        self.log_dir = self.server.log_dir
        self.log = Log(self.log_dir)
        self.sent = []

    def send(self, count, size=400):
        with Wire(self.server.address) as wire:
            wire.hello()
            for _ in range(count):
                message = sample_message(size, f"m{len(self.sent)}")
                self.assertEqual(wire.message(message), f"250 2.0.0 Ok {len(self.sent)}")
                self.sent.append(message)

    def cat(self, directory):
        """What the C++ reader shows of a log at rest: (records, end)."""
        log = Log(directory)
        done = log.run("cat", "--json", "--refused", check=False)
        records = [json.loads(line) for line in done.stdout.splitlines()]
        return records, log.info()["next"]

    def agree(self, directory, what=""):
        """Both readers show the same of a log at rest; what mxringlog shows."""
        records, end = self.cat(directory)
        log = mxringlog.Log(directory)
        ours, gaps = split(log.records(refused=True))
        self.assertEqual([r["offset"] for r in records], [r.offset for r in ours], what)
        for theirs, record in zip(records, ours):
            shown = record.as_dict()
            if record.id is None:  # older than the tags of these: log cat asks the header
                shown.update({key: theirs[key] for key in TAKEN_FROM_THE_HEADER})
            self.assertEqual(shown, theirs, what)
        self.assertEqual(log.end, end, what)
        # Every offset is a record or in a gap, and in one of them only.
        shown = sorted([(r.offset, r.offset + 1) for r in ours] + [g[:2] for g in gaps])
        at = log.first
        for first, after in shown:
            self.assertEqual(first, at, what)
            at = after
        self.assertEqual(at, end, what)
        return ours, gaps
