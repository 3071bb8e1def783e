"""What the most expensive mail a sender can choose costs the server, in CPU time per byte, against
ordinary signed mail of a like size in the same run. Budget: three times."""

import base64
import hashlib
import itertools
import json
import os
import subprocess

import mxtest
from mxtest import BINARY, Wire
from odd_resolver import OddResolver

BUDGET = 3.0
# What fails the test: a cost that grows with a product of what the sender chooses. The budget itself
# is for optimised builds and is printed.
GUARD = 40.0
ROUNDS = 3
ALL = {"spf": True, "dkim": True, "dmarc": True}
BODY_HASH = base64.b64encode(hashlib.sha256(b"hi\r\n").digest()).decode()


def der(tag, content):
    size = len(content)
    if size < 128:
        head = bytes([size])
    else:
        octets = (size.bit_length() + 7) // 8
        head = bytes([0x80 | octets]) + size.to_bytes(octets, "big")
    return bytes([tag]) + head + content


def rsa_key(exponent):
    """A public key of 4096 bits that nobody has the other half of."""
    def integer(number):
        return der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))
    modulus = int.from_bytes(b"\xff" + os.urandom(510) + b"\xff", "big")
    return "v=DKIM1; p=" + base64.b64encode(
        der(0x30, integer(modulus) + integer(exponent))).decode()


def folded(text):
    return "\r\n ".join(text[i:i + 900] for i in range(0, len(text), 900))


BITS = folded(base64.b64encode(b"\x7f" + os.urandom(511)).decode())


def signature(selector, more="", names="from"):
    return (f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=client.test; s={selector}; "
            f"{more}h={names}; bh={BODY_HASH};\r\n b={BITS}\r\n")


def chain(sets, selector):
    out = ""
    for i in range(sets, 0, -1):
        status = "none" if i == 1 else "pass"
        out += (f"ARC-Seal: i={i}; a=rsa-sha256; cv={status}; d=client.test; s={selector}; b={BITS}\r\n"
                f"ARC-Message-Signature: i={i}; a=rsa-sha256; c=relaxed/relaxed; d=client.test; "
                f"s={selector}; h=from; bh={BODY_HASH}; b={BITS}\r\n"
                f"ARC-Authentication-Results: i={i}; x.test; none\r\n")
    return out


def with_from(header, body="hi"):
    return (header + f"From: a@client.test\r\n\r\n{body}\r\n").encode()


def colliding(names):
    """Field names that differ in one bit each, and h= that asks for others of the kind."""
    fields = "".join(f"{name}: x\r\n" for name in names[:985])
    wanted, room = ["from"], 128 * 1024 - len(fields) - 2000
    for name in itertools.cycle(names[-30:]):
        room -= len(name) + 2
        if room < 0:
            break
        wanted.append(name)
    h = ":\r\n ".join(":".join(wanted[i:i + 60]) for i in range(0, len(wanted), 60))
    return with_from(signature("few", names=h) + fields)


def hostile_messages():
    blanks = ((b"a  " * 300)[:-1] + b"\r\n").decode()
    names = ["".join(letters) for letters in itertools.product("[{", repeat=10)]
    yield "50 ARC sets, exponents of 64 bits", with_from(
        chain(50, "big") + "".join(signature("big", f"t={i}; ") for i in range(10)))
    yield "15 ARC sets and 10 signatures, two keys each", with_from(
        chain(15, "two") + "".join(signature("two", f"t={i}; ") for i in range(10)))
    yield "field names that differ in one bit", colliding(names)
    yield "ten different l=, a body of blanks", with_from(
        "".join(signature("few", f"l={2_000_000 + i}; ") for i in range(10)),
        blanks * (1_000_000 // len(blanks)))
    yield "10 signatures that sign everything", with_from(
        "".join(signature("few", f"t={i}; ", ":".join(["x-f"] * 900 + ["from"])) for i in range(5)) +
        "X-F: y\r\n" * 900)
    yield "broken From of 60 KB", (
        "From: Foo, " + "=?utf-8?Q?a=40client.test?= (x) \"y\" \\z \r\n " * 1500 +
        "<a@client.test>\r\n\r\nhi\r\n").encode()
    yield "900 results with nested comments", with_from(
        ("Authentication-Results: " + "(" * 30 + ")" * 30 + "\"mx.test\" x\r\n") * 900)


class WorstMail(mxtest.TestCase):
    def cpu_us(self):
        """Of all threads, by the scheduler's own count: ticks are too coarse for one message."""
        total = 0
        for task in os.listdir(f"/proc/{self.server.pid}/task"):
            with open(f"/proc/{self.server.pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1000

    def cost(self, message):
        """CPU microseconds per KiB of message, the least of some rounds."""
        count = max(10, 2_000_000 // len(message))
        costs = []
        with Wire(self.server.address, timeout=15) as wire:
            wire.hello()
            answer = wire.message(message, sender="a@client.test")
            self.assertRegex(answer, r"^(250|550) ")
            for _ in range(ROUNDS):
                begin = self.cpu_us()
                for _ in range(count):
                    wire.message(message, sender="a@client.test")
                costs.append((self.cpu_us() - begin) / count / (len(message) / 1024))
        return min(costs)

    def ordinary(self, key, size):
        line = b"An ordinary line of an ordinary message, as people and programs write them.\r\n"
        message = (b"From: Ann <a@client.test>\r\nTo: b@mx.test\r\nSubject: news\r\n"
                   b"Date: Sun, 22 Nov 2026 01:02:03 +0000\r\nMessage-ID: <1@client.test>\r\n\r\n" +
                   line * (size // len(line)))
        done = subprocess.run([BINARY, "dkim", "sign", "--key", key, "--domain", "client.test",
                               "--selector", "own", "--exact"], input=message,
                              capture_output=True, check=True, timeout=60)
        return done.stdout

    def test_cost_per_byte(self):
        made = json.loads(subprocess.run(
            [BINARY, "dkim", "keygen", "--domain", "client.test", "--selector", "own", "--out",
             self.directory, "--json"], capture_output=True, check=True, timeout=60).stdout)
        zone = {"client.test": [("TXT", "v=spf1 ip4:127.0.0.1 -all")],
                "_dmarc.client.test": [("TXT", "v=DMARC1; p=none")],
                "own._domainkey.client.test": [("TXT", made["record_value"])],
                "big._domainkey.client.test": [("TXT", rsa_key(2**64 - 1))],
                "few._domainkey.client.test": [("TXT", rsa_key(65537))],
                "two._domainkey.client.test": [("TXT", rsa_key(65537)), ("TXT", rsa_key(65537))]}
        resolver = OddResolver(zone)
        self.addCleanup(resolver.stop)
        self.server = self.serve({"auth": ALL, "dns": {"servers": [resolver.address]},
                                  "shards": {"count": 1}, "log": {"sync": "none",
                                                                  "retain_bytes": "64MiB"},
                                  "limits": {"messages_per_connection": 1_000_000}})
        ordinary = self.cost(self.ordinary(made["private_key_file"], 90_000))
        print(f"{'ordinary, signed, 90 KB':<48} {ordinary:8.2f} us/KiB")
        worst = 0
        for name, message in hostile_messages():
            cost = self.cost(message)
            worst = max(worst, cost / ordinary)
            print(f"{name + f', {len(message) // 1024} KiB':<56} {cost:8.2f} us/KiB "
                  f"{cost / ordinary:5.1f} times", flush=True)
        print(f"worst: {worst:.1f} times; budget of an optimised build: {BUDGET}")
        self.assertLess(worst, GUARD)


if __name__ == "__main__":
    mxtest.main()
