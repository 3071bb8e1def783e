"""kill -9 of readers and of the server under load, again and again: `log tail --group --ack` driven
from Python and from Node, consumer.h and mxringlog. Every acknowledged message arrives, in order,
whole, and what comes again is what was not yet committed."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import mxtest
from consumer_test import Case as ConsumerCase
from mxtest import BINARY, Wire, sample_message, sha256

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
# At most five commits a second, and the disk's time for one of them.
REPEAT_S = 0.2 + float(os.environ.get("MXRING_COMMIT_S", "1.5"))


def fnv(message):
    value = 14695981039346656037
    for byte in message:
        value = (value ^ byte) * 1099511628211 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


class Kill(ConsumerCase):
    ROUNDS = int(os.environ.get("MXRING_KILL_ROUNDS", "8"))

    def commands(self):
        package = os.path.join(ROOT, "include", "python")
        tail = [BINARY, self.log_dir]
        return {
            "python-tail": [sys.executable, "-B", HERE + "/readers/tail_ack.py", *tail],
            "node-tail": [self.need("node"), HERE + "/readers/tail_ack.js", *tail],
            "consumer": [self.build(os.path.join(ROOT, "tests/consumer/follow.cc"), "follow"),
                         self.log_dir],
            "mxringlog": [sys.executable, "-B", HERE + "/readers/follow.py", package,
                          self.log_dir],
        }

    def feed(self):
        while not self.stop.is_set():
            with contextlib.suppress(OSError, ValueError):
                with Wire(self.server.address, timeout=5) as wire:
                    wire.hello()
                    while not self.stop.is_set():
                        message = sample_message(600, f"k{self.number}")
                        self.number += 1
                        answer = wire.message(message)
                        if answer.startswith("250"):
                            self.sent[int(answer.split()[-1])] = message
            time.sleep(0.01)

    def lines(self, group):
        """[(offset, digest, time)] of whole lines."""
        with open(self.file(group)) as text:
            rows = [line.split() for line in text.read().split("\n")[:-1]]
        return [(int(id_.split("_")[1]), digest, float(when)) for id_, digest, when in rows]

    def file(self, group):
        return os.path.join(self.directory, group + ".seen")

    def start(self, group):
        with open(self.file(group) + ".errors", "ab") as errors:
            reader = subprocess.Popen([*self.command[group], group, self.file(group)],
                                      start_new_session=True, stderr=errors)
        self.readers[group] = reader
        return reader

    def wait_for(self, group, offset, what):
        """Until this reader has written this offset, or one after it."""
        end = time.monotonic() + 30
        while self.last(group) < offset:
            if self.readers[group].poll() is not None or time.monotonic() > end:
                with open(self.file(group) + ".errors") as errors:
                    self.fail(f"{group}, {what}: has {self.last(group)}, wanted {offset}; exit "
                              f"code {self.readers[group].poll()}: {errors.read()[-2000:]}")
            time.sleep(0.01)

    def last(self, group):
        """The offset in the last whole line."""
        with contextlib.suppress(FileNotFoundError), open(self.file(group), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 400))
            whole = file.read().split(b"\n")[:-1]
            if whole:
                return int(whole[-1].split()[0].split(b"_")[1])
        return -1

    def end_all(self):
        for reader in self.readers.values():
            if reader.poll() is None:
                os.killpg(reader.pid, signal.SIGKILL)
            reader.wait()

    def check(self, group, kills):
        """Every offset from 0 on, in order; what comes again came after the last commit."""
        seen, last, repeats = {}, -1, 0
        for offset, digest, when in self.lines(group):
            if offset != last + 1:  # a new life
                self.assertLessEqual(offset, len(seen), f"{group}: {offset} after {last}")
                repeats += len(seen) - offset
                killed = max(k for k in kills if k <= when)
                for again in range(offset, len(seen)):
                    self.assertLess(killed - seen[again][1], REPEAT_S,
                                    f"{group}: {again} was dealt with long before the kill")
            if offset in seen:
                self.assertEqual(seen[offset][0], digest, f"{group}: {offset}")
            seen[offset] = (digest, when)
            last = offset
        self.assertEqual(sorted(seen), list(range(len(seen))), group)
        name = fnv if group == "consumer" else sha256
        for offset, message in self.sent.items():
            self.assertEqual(seen[offset][0], name(message), f"{group}: acknowledged {offset}")
        return len(seen), repeats

    def test_readers_and_server(self):
        chance = random.Random(int(os.environ.get("MXRING_SEED", "15")))
        self.command = self.commands()
        self.sent, self.number, self.stop = {}, 0, threading.Event()
        self.readers = {}
        self.addCleanup(self.end_all)
        feeder = threading.Thread(target=self.feed)
        feeder.start()
        self.addCleanup(feeder.join)
        self.addCleanup(self.stop.set)
        kills, servers = [], 0
        for round_ in range(self.ROUNDS):
            before = {group: self.last(group) for group in self.command}
            for group in self.command:
                self.start(group)
            for group in self.command:
                self.wait_for(group, before[group] + 1, f"round {round_}")
            time.sleep(chance.uniform(0, 0.6))
            kills.append(time.time())
            if round_ % 3 == 1:
                self.server.kill()
                servers += 1
            self.end_all()
            if round_ % 3 == 1:
                self.server.start()
        self.stop.set()
        feeder.join()
        end = self.log.info()["next"]
        for group in self.command:
            self.start(group)
        for group in self.command:
            self.wait_for(group, end - 1, "the end")
        self.end_all()
        print(f"{self.ROUNDS} rounds, {servers} of them with the server, {len(self.sent)} "
              "acknowledged")
        print("reader        records  repeats  repeats a kill")
        for group in self.command:
            count, repeats = self.check(group, kills)
            self.assertEqual(count, end, group)
            print(f"{group:<12}{count:>9}{repeats:>9}{repeats / self.ROUNDS:>16.1f}")
        self.assertGreater(len(self.sent), 10 * self.ROUNDS)


if __name__ == "__main__":
    mxtest.main()
