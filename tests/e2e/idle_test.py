"""Ten thousand idle connections, and hundreds that dribble a byte a second, beside 64 clients that
work: those are not slowed, memory stays small, and the dribblers are ended."""

import json
import resource
import subprocess
import sys
import time

import mxtest
import swarm
from mxtest import Log, sample_message

IDLE = 10_000
DRIBBLERS = 400
GOOD = 64
DESCRIPTORS = IDLE + DRIBBLERS + GOOD + 200


class Idle(mxtest.TestCase):
    WINDOW_SECONDS = 12
    PHASE_SECONDS = 3.0

    def setUp(self):
        super().setUp()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
            self.skipTest(f"only {hard} descriptors are allowed here; {DESCRIPTORS} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.server = self.serve({
            "listen": {"smtp": ["127.0.0.1:0"], "admin": "127.0.0.1:0"},
            "limits": {"data_rate_window": f"{self.WINDOW_SECONDS}s",
                       "messages_per_connection": 100_000, "connections": 12_000}})

    def good_clients(self, seconds):
        """64 clients, each sending ten messages a second; the latencies, in seconds, sorted."""
        latencies = []
        message = mxtest.stuffed(sample_message(4000))
        opening = b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n"
        loop = swarm.Loop()
        end = time.monotonic() + seconds

        def client(connection, start):
            swarm.expect((yield connection.reply()), "220")
            yield connection.send(b"EHLO good.test\r\n")
            swarm.expect((yield connection.reply()), "250")
            due = start
            while due < end:
                yield connection.sleep(max(0.0, due - time.monotonic()))
                begin = time.monotonic()
                yield connection.send(opening)
                for code in ("250", "250", "354"):
                    swarm.expect((yield connection.reply()), code)
                yield connection.send(message)
                swarm.expect((yield connection.reply()), "250")
                latencies.append(time.monotonic() - begin)
                due += 0.1

        now = time.monotonic()
        for i in range(GOOD):
            loop.connect(self.server.address, client, now + 0.2 + 0.1 * i / GOOD)
        loop.run(until=end + 30)
        self.assertEqual(loop.failures, [])
        self.assertFalse(loop.by_fd, "clients that did not finish")
        loop.close()
        self.assertGreater(len(latencies), GOOD * seconds * 5)
        return sorted(latencies)

    def start_crowd(self):
        host, port = self.server.address
        crowd = subprocess.Popen(
            [sys.executable, "-B", swarm.__file__, host, str(port), str(IDLE), str(DRIBBLERS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(crowd.stdout.close)
        self.addCleanup(lambda: crowd.poll() is None and crowd.kill())
        state = json.loads(crowd.stdout.readline())
        self.assertEqual((state["idle"], state["dribbling"], state["failed"]),
                         (IDLE, DRIBBLERS, 0), state)
        return crowd

    def test_good_clients_do_not_notice(self):
        def p99(latencies):
            return latencies[int(len(latencies) * 0.99)]

        self.good_clients(1.0)  # warm
        memory_before = self.server.memory_bytes()
        alone = p99(self.good_clients(self.PHASE_SECONDS))
        crowd = self.start_crowd()
        opened = time.monotonic()
        memory = self.server.memory_bytes() - memory_before
        beside = p99(self.good_clients(self.PHASE_SECONDS))

        # All dribblers are ended by the limit; nobody idle is.
        status = self.server.http("/metrics")
        self.assertIn("mxring_connections", status)
        time.sleep(max(0.0, opened + 2.5 * self.WINDOW_SECONDS - time.monotonic()))
        crowd.stdin.close()
        state = json.loads(crowd.stdout.readline())
        self.assertEqual(crowd.wait(30), 0)
        self.assertEqual(state["ended"], {"421 4.4.2": DRIBBLERS}, state)
        self.assertEqual((state["idle_closed"], state["failed"]), (0, 0), state)
        again = p99(self.good_clients(self.PHASE_SECONDS))

        print(f"p99 of {GOOD} clients: alone {alone * 1e3:.2f} ms, beside {IDLE} idle and "
              f"{DRIBBLERS} dribbling {beside * 1e3:.2f} ms, alone again {again * 1e3:.2f} ms; "
              f"memory +{memory / 2**20:.1f} MiB")
        self.assertLess(memory, 100 << 20)
        # The two milliseconds are for the scheduler of a machine that is not ours alone.
        self.assertLess(beside, 2 * max(alone, again) + 0.002)
        self.assertEqual(self.server.stop(), 0)
        records = Log(self.server.log_dir).info()["records"]
        self.assertGreater(records, 3 * GOOD * self.PHASE_SECONDS * 5)


if __name__ == "__main__":
    mxtest.main()
