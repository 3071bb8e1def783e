"""What the most expensive mail a sender can choose costs the server, in CPU time per byte, against
ordinary signed mail of the same size in the same run. Budget: three times."""

import os

import mxtest
import worst_mails
from mxtest import Wire
from odd_resolver import OddResolver

BUDGET = 3.0
# What fails the test; builds without optimisation are given more room. The budget is printed.
GUARD = 5.0
GUARD_UNOPTIMISED = 12.0
ROUNDS = 3
ORDINARY_SIZES = [2_000, 8_000, 32_000, 128_000, 1_000_000]
ALL = {"spf": True, "dkim": True, "dmarc": True}


class WorstMail(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        self.maker = worst_mails.Maker(self.directory)
        resolver = OddResolver(self.maker.zone)
        self.addCleanup(resolver.stop)
        self.server = self.serve({"auth": ALL, "dns": {"servers": [resolver.address]},
                                  "shards": {"count": 1}, "log": {"sync": "none",
                                                                  "retain_bytes": "64MiB"},
                                  "limits": {"messages_per_connection": 1_000_000}})
        self.sent = 0

    def cpu_us(self):
        """Of all threads, by the scheduler's own count: ticks are too coarse for one message."""
        total = 0
        for task in os.listdir(f"/proc/{self.server.pid}/task"):
            with open(f"/proc/{self.server.pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1000

    def send(self, wire, message):
        self.sent += 1
        count = b"%08d" % self.sent
        own = worst_mails.COUNTER in message
        sender = f"{count.decode()}@{count.decode()}.wide.test" if own else worst_mails.SENDER
        return wire.message(message.replace(worst_mails.COUNTER, count), sender=sender)

    def cost(self, message):
        """CPU microseconds of one message, the least of some rounds."""
        count = min(100, max(10, 1_000_000 // len(message)))
        costs = []
        with Wire(self.server.address, timeout=15) as wire:
            wire.hello()
            self.assertRegex(self.send(wire, message), r"^(250|550) ")
            for _ in range(ROUNDS):
                begin = self.cpu_us()
                for _ in range(count):
                    self.send(wire, message)
                costs.append((self.cpu_us() - begin) / count)
        return min(costs)

    def ordinary_cost(self, size):
        """Between the sizes that were measured, along a straight line."""
        for (small, low), (large, high) in zip(self.measured, self.measured[1:]):
            if size <= large or large == self.measured[-1][0]:
                return max(low, low + (high - low) * (size - small) / (large - small))
        raise AssertionError("no sizes")

    def test_cost_per_byte(self):
        self.measured = []
        for size in ORDINARY_SIZES:
            message = self.maker.ordinary(size)
            self.measured.append((len(message), self.cost(message)))
            print(f"ordinary, signed, {len(message):8} bytes {self.measured[-1][1]:10.1f} us")
        worst = 0
        for name, message in worst_mails.hostile():
            cost, ordinary = self.cost(message), self.ordinary_cost(len(message))
            worst = max(worst, cost / ordinary)
            print(f"{name:<56} {len(message):8} bytes {cost:10.1f} us {cost / ordinary:5.1f} times",
                  flush=True)
        print(f"worst: {worst:.1f} times; budget of an optimised build: {BUDGET}")
        self.assertLess(worst, GUARD)


if __name__ == "__main__":
    mxtest.main()
