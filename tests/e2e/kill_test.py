"""kill -9 under load, again and again on one log: every acknowledged message is there, whole, under
the offset its reply named, and nothing is readable that was not sent whole."""

import contextlib
import json
import os
import random
import threading
import time

import mxtest
from mxtest import Log, Wire, sample_message, sha256


class Kill(mxtest.TestCase):
    ROUNDS = int(os.environ.get("MXRING_KILLS", "200"))
    SECONDS = 90
    CLIENTS = 4
    ACKNOWLEDGED_MIN = 10  # a round

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("MXRING_SEED", random.randrange(1 << 30)))
        self.random = random.Random(self.seed)
        self.lock = threading.Lock()
        self.sent = set()        # digests of all messages a client began to send
        self.acknowledged = {}   # offset -> digest
        self.strange = []        # replies that should not be
        self.server = self.serve({"log": {"segment_bytes": "4MiB"},
                                  "limits": {"message_size": "1MiB", "memory": "64MiB"}})
        self.log = Log(self.server.log_dir)

    def client(self, number):
        """Sends until the server is gone."""
        choose = random.Random(self.seed * 1000 + number)
        base = sample_message(60_000)
        count = 0
        with contextlib.suppress(OSError), Wire(self.server.address) as wire:
            wire.hello()
            while True:
                size = choose.choice((200, 1500, 1500, 6000, 6000, 20_000, 60_000))
                message = b"X-Number: %d.%d\r\n" % (number, count) + base[:size] + b"\r\n"
                digest = sha256(message)
                count += 1
                with self.lock:
                    self.sent.add(digest)
                answer = wire.message(message)
                words = answer.split()
                with self.lock:
                    if words[:3] != ["250", "2.0.0", "Ok"] or int(words[3]) in self.acknowledged:
                        self.strange.append(answer)
                        return
                    self.acknowledged[int(words[3])] = digest

    def check(self, first):
        """No reply was wrong; the log from `first` on holds what was acknowledged, and only what
        was sent. The number of records."""
        self.assertEqual(self.strange, [])
        done = self.log.run("cat", "--json", "--from", first)
        seen = {}
        for line in done.stdout.splitlines():
            record = json.loads(line)
            seen[record["offset"]] = record["sha256"]
        self.assertEqual(sorted(seen), list(range(first, first + len(seen))), "a gap")
        for offset, digest in self.acknowledged.items():
            if offset >= first:
                self.assertEqual(seen.get(offset), digest, f"acknowledged offset {offset}")
        strangers = set(seen.values()) - self.sent
        self.assertFalse(strangers, f"never sent whole: {strangers}")
        return len(seen)

    def test_kill_at_random_moments(self):
        begin = time.monotonic()
        first = 0
        rounds = 0
        for rounds in range(1, self.ROUNDS + 1):
            clients = [threading.Thread(target=self.client, args=(rounds * 10 + i,))
                       for i in range(self.CLIENTS)]
            for client in clients:
                client.start()
            time.sleep(self.random.uniform(0, 0.12))
            self.server.kill()
            for client in clients:
                client.join()
            # As the crash left it, before anybody has recovered it.
            first += self.check(first)
            if time.monotonic() - begin > self.SECONDS:
                break
            self.server.start()
        if self.server.alive():
            self.assertEqual(self.server.stop(), 0)
        else:
            self.server.start()
            self.assertEqual(self.server.stop(), 0)
        total = self.check(0)
        code, report = self.log.verify()
        self.assertEqual((code, report["ok"], report["records"]), (0, True, total), report)
        print(f"seed {self.seed}: {rounds} kills, {len(self.acknowledged)} acknowledged, "
              f"{total} in the log, {time.monotonic() - begin:.0f} s")
        self.assertEqual(rounds, self.ROUNDS, "the machine is too slow for all of them")
        self.assertGreater(len(self.acknowledged), self.ACKNOWLEDGED_MIN * rounds)


if __name__ == "__main__":
    mxtest.main()
