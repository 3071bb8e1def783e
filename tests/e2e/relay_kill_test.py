"""mxring-relay killed before each of its steps, those numbered by its fault seam: what is written,
synced, renamed, sent, and each answer that is taken. A few of them here, all in `./run.sh soak`."""

import os
import random
import signal
import subprocess

import mxtest
from relay_lmtp_test import Peer
from relay_nats_test import NatsCase, Nodes
from relay_program import KILLS, Hook, Relay

RECORDS = 8
CHOSEN = 3


class Steps(NatsCase):
    def setUp(self):
        super().setUp()
        self.send(RECORDS, recipients=("one@mx.test", "two@mx.test"))

    def every_step(self, config_for, check):
        """`config_for(name)` delivers to a place that is new under that name; `check(name, killed)`
        looks at what is there, and gives how many came twice."""
        count = os.path.join(self.directory, "steps")
        relay = Relay(self, config_for("count"), env={"MXRING_RELAY_FAULT": f"count:{count}"})
        self.committed(RECORDS)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        with open(count) as text:
            steps = int(text.read())
        self.assertGreater(steps, RECORDS, "each delivery is a step")
        chosen = range(1, steps + 1)
        if KILLS < 20:
            # The last few are of the end, where a run may have one more or less.
            chosen = sorted(random.Random(9).sample(chosen[:-6], CHOSEN))
        repeated = killed = 0
        for step in chosen:
            name = f"step{step}"
            relay.configure(config_for(name))
            self.groups("reset", "--to-earliest", "--execute")
            relay.start(env={"MXRING_RELAY_FAULT": f"kill:{step}"}, wait=False)
            try:
                # How often the place is written differs by a few; then there is no such step.
                self.assertEqual(relay.wait(3), -signal.SIGKILL, relay.stderr())
                killed += 1
            except subprocess.TimeoutExpired:
                self.assertGreater(step, RECORDS, "this step is always made")
                relay.kill()
            check(name, True)
            relay.start(env={"MXRING_RELAY_FAULT": ""})
            self.committed(RECORDS, 40)
            self.assertEqual(relay.stop(), 0, relay.stderr())
            repeated += check(name, False)
        self.assertGreater(killed, 0)
        return f"killed at {killed} of {steps} steps, missing 0, repeated {repeated}"

    def in_order(self, came, killed):
        """Each once or more, the first times in order; without a hole after a kill either."""
        firsts = list(dict.fromkeys(came))
        self.assertEqual(firsts, list(range(len(firsts) if killed else RECORDS)))
        return len(came) - len(firsts)

    def test_webhook(self):
        hooks = {}

        def config_for(name):
            hooks[name] = Hook(self)
            return self.config(webhook={"url": hooks[name].url, "allow_private": True})

        def check(name, killed):
            repeated = self.in_order(hooks[name].delivered(), killed)
            self.assertLessEqual(repeated, RECORDS)  # since the last commit: at most all
            return repeated

        print("webhook:", self.every_step(config_for, check))

    def test_lmtp(self):
        peers = {}

        def config_for(name):
            peers[name] = Peer(self)
            return self.config(lmtp={"address": peers[name].address, "timeout": "5s"})

        def check(name, killed):
            saved = list(peers[name].saved)
            repeated = 0
            for who in ("one@mx.test", "two@mx.test"):
                repeated += self.in_order([int(s[1:]) for s, r in saved if r == who], killed)
            # One transaction is under way at a time: its recipients may have it twice.
            self.assertLessEqual(repeated, 2)
            return repeated

        print("lmtp:", self.every_step(config_for, check))

    def test_nats(self):
        nodes = Nodes(self)

        def config_for(name):
            return self.nats(nodes, stream=name)

        def check(name, killed):
            if nodes.stream(name) is None:
                self.assertTrue(killed)  # before it was made
                return 0
            repeated = self.in_order(nodes.ids(name), killed)
            self.assertEqual(repeated, 0)
            return repeated

        print("nats:", self.every_step(config_for, check))


if __name__ == "__main__":
    mxtest.main()
