"""Header sections that programs read in different ways: what mxring does not take for a field,
others skip, and go on to the first empty line."""

import json
import os
import re
import subprocess
from email import message_from_bytes, policy

import mxtest
from mxtest import BINARY, Log, Wire

HIDDEN = (b"Authentication-Results: mx.test; dmarc=pass header.from=bank.test\r\n"
          b"From: Bank <ceo@bank.test>\r\n\r\nhi\r\n")
SPOOFED = b"From: a@evil.test\r\nSubject: x\r\n: \r\n" + HIDDEN
LEADING_SPACE = b" (really by bank.test)\r\nFrom: a@evil.test\r\n\r\nhi\r\n"
REFUSED = "550 5.6.0 A line of the header section is no header field"
# Message, and whether it is taken when mxring vouches for the header, and when it does not.
CASES = [
    (SPOOFED, False, True),
    (b"From: a@evil.test\r\nno field\r\n" + HIDDEN, False, True),
    (b"From: a@evil.test\r\n\x0bno field: x\r\n" + HIDDEN, False, True),
    (LEADING_SPACE, False, False),
    (b"\tx\r\n", False, False),
    (b"Just text.\r\n", False, True),
    (b"From a@evil.test Sun Nov 22 01:02:03 2026\r\nFrom: a@evil.test\r\n\r\nhi\r\n", True, True),
    (b"From: a@evil.test\r\nSubject: only a header\r\n", True, True),
    (b"From: a@evil.test\r\nSubject: x\r\n\r\n: in the body\r\n", True, True),
]


class Section(mxtest.TestCase):
    def start(self, **auth):
        self.resolver = f"127.0.0.1:{mxtest.free_port()}"  # nobody answers there
        self.server = self.serve({"auth": auth, "dns": {"servers": [self.resolver]},
                                  "listen": {"admin": "127.0.0.1:0"}})
        self.log = Log(self.server.log_dir)
        wire = Wire(self.server.address)
        self.addCleanup(wire.close)
        wire.hello()
        return wire

    def refused(self):
        text = self.server.http("/metrics")
        return sum(map(int, re.findall(r"(?m)^mxring_messages_refused_total\S* (\d+)$", text)))

    def judged(self, message):
        """The reply that `mxring auth` foresees for the message as a file."""
        name = os.path.join(self.directory, "message.eml")
        with open(name, "wb") as out:
            out.write(message)
        done = subprocess.run(
            [BINARY, "auth", "--ip", "127.0.0.1", "--mail-from", "a@client.test", "--helo",
             "client.test", "--resolver", self.resolver, "--exact", "--json", name],
            capture_output=True, timeout=60, check=True)
        return json.loads(done.stdout)

    def check(self, wire, column):
        refusals = 0
        for case in CASES:
            answer = wire.message(case[0])
            if case[column]:
                self.assertRegex(answer, r"^250 2\.0\.0 Ok", case[0])
            else:
                self.assertEqual(answer, REFUSED, case[0])
                refusals += 1
        mxtest.wait_until(lambda: self.refused() == refusals, 5, f"{refusals} refusals counted")
        taken = [case[0] for case in CASES if case[column]]
        self.assertEqual(len(self.log.records("--refused")), len(taken))
        for offset, message in enumerate(taken):
            self.assertEqual(self.log.as_received(offset), message)
        return range(len(taken))

    def test_vouched_for(self):
        for offset in self.check(self.start(spf=True, dkim=True, dmarc=True), 1):
            delivered = message_from_bytes(self.log.delivered(offset), policy=policy.default)
            self.assertEqual([address.addr_spec for value in delivered.get_all("from")
                              for address in value.addresses], ["a@evil.test"])
            self.assertEqual(len(delivered.get_all("authentication-results")), 1)
        for message, taken, _ in CASES:
            verdict = self.judged(message)
            self.assertEqual(verdict["reply"], "250 2.0.0 Ok" if taken else REFUSED)
            self.assertEqual(verdict["disposition"], "accept" if taken else "reject")

    def test_one_method_is_enough(self):
        for method in ("spf", "dkim", "dmarc"):
            with self.subTest(method):
                wire = self.start(**{method: True})
                self.assertEqual(wire.message(SPOOFED), REFUSED)
                self.assertEqual(wire.message(LEADING_SPACE), REFUSED)
                self.server.stop()

    def test_nothing_vouched_for(self):
        for offset in self.check(self.start(), 2):
            delivered = message_from_bytes(self.log.delivered(offset))
            self.assertNotIn("bank.test", delivered["received"])


if __name__ == "__main__":
    mxtest.main()
