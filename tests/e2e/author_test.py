"""From fields: whoever mxring takes for the author, no other program takes for somebody else.
Mutated values over the wire; what was accepted is read by Python's two parsers and nodemailer's."""

import email.utils
import json
import os
import random
import re
import socket
import threading
import warnings
from email import message_from_bytes, policy

import mxtest
from mxtest import Log, Wire

VALUES = 4000
SEEDS = [
    "user@bank.test", "User <user@bank.test>", '"User, A." <user@BANK.test>',
    "(A User) user@bank.test (x)", "=?utf-8?Q?J=C3=BCrgen?= <user@evil.test>",
    "info@evil.test <info@evil.test>", "Foo, Inc. <x@evil.test>", "A [b] <x@evil.test>",
    '"x" <x@evil.test>,', "foo..bar@evil.test", ".foo. <.foo.@evil.test>",
    '"ceo@bank.test", Inc. <x@evil.test>', "(ceo@bank.test) Foo; <x@evil.test>",
    "=?utf-8?B?Y2VvQGJhbmsudGVzdA==?=, Foo <x@evil.test>", '"ceo@bank.test" <x@evil.test>',
    "Foo,\r\n Inc.\r\n\t<x@evil.test>", '"ceo@bank.test"@evil.test', "<@bank.test:x@evil.test>",
    "Bank <ceo@bank.test>, Foo <x@evil.test>", "People: ceo@bank.test;", "x@[192.0.2.1]",
]
PIECES = list(" \t\"(),.:;<>@[]\\=?!'xa") + [
    "ceo@bank.test", "<ceo@bank.test>", "x@evil.test", "<x@evil.test>", "bank.test",
    "(ceo@bank.test)", '"ceo@bank.test"', "=?utf-8?Q?ceo=40bank.test?=",
    "=?utf-8?B?Y2VvQGJhbmsudGVzdA==?=", ", ", "..", "[b]", "Foo, ", "\r\n ",
]
NODE_SCRIPT = """
const parse = require('nodemailer/lib/addressparser');
const values = JSON.parse(require('fs').readFileSync(0));
console.log(JSON.stringify(values.map(value =>
    parse(value, {flatten: true}).map(found => found.address))));
"""


def mutated(random_source):
    value = random_source.choice(SEEDS)
    for _ in range(random_source.randrange(4)):
        at = random_source.randrange(len(value) + 1)
        kind = random_source.randrange(4)
        if kind == 0:
            value = value[:at] + value[at + random_source.randrange(1, 4):]
        elif kind == 1:
            other = random_source.choice(SEEDS)
            value = value[:at] + other[random_source.randrange(len(other)):]
        else:
            value = value[:at] + random_source.choice(PIECES) + value[at:]
    return value


class NoSuchName:
    """A DNS server that knows no name."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._answer)
        self.thread.start()

    def _answer(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            if len(query) < 12:
                return
            end = query.index(b"\0", 12) + 5
            self.socket.sendto(query[:2] + b"\x81\x83\0\1\0\0\0\0\0\0" + query[12:end], client)

    def stop(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()


class Readers(mxtest.TestCase):
    def accepted(self, values):
        """The values that are taken, with the author's domain."""
        dns = NoSuchName()
        self.addCleanup(dns.stop)
        server = self.serve({"auth": {"dmarc": True}, "dns": {"servers": [dns.address]},
                             "limits": {"messages_per_connection": 100_000}})
        taken = []
        with Wire(server.address) as wire:
            wire.hello()
            for value in values:
                message = f"From: {value}\r\nSubject: x\r\n\r\nx\r\n".encode()
                answer = wire.message(message)
                self.assertRegex(answer, r"^(250 2\.0\.0|550 5\.6\.0) ", value)
                if answer.startswith("250"):
                    taken.append(value)
        records = Log(server.log_dir).records()
        self.assertEqual(len(records), len(taken))
        return [(value, r["dmarc"]["from_domain"]) for value, r in zip(taken, records)]

    def values(self):
        source = random.Random(9989)
        values = SEEDS + [mutated(source) for _ in range(VALUES)]
        # One field each, without a bare CR or LF. A line of white space alone ends the header
        # section for some programs.
        odd = re.compile(r"\r(?!\n)|(?<!\r)\n|\r\n(?![ \t]+[^ \t\r])")
        return [value for value in values if not odd.search(value)]

    def check(self, program, value, domain, addresses):
        for address in addresses:
            found = address.rsplit("@", 1)[1].strip(" .>").lower() if address and "@" in address else ""
            # A single label is nobody's domain, and neither is what no host can be called.
            if re.fullmatch(r"[a-z0-9._-]+\.[a-z0-9._-]+", found):
                self.assertEqual(found, domain, f"{program} reads {address!r} in {value!r}")

    def test_nobody_reads_another_domain(self):
        pairs = self.accepted(self.values())
        self.assertGreater(len(pairs), VALUES // 10)
        for value, domain in pairs:
            # These two want it unfolded: to them a line end also ends a quoted string or a comment.
            line = value.replace("\r\n", "")
            self.check("parseaddr", value, domain, [email.utils.parseaddr(line)[1]])
            self.check("getaddresses", value, domain,
                       [address for _, address in email.utils.getaddresses([line])])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                message = message_from_bytes(f"From: {value}\r\n\r\n".encode(),
                                             policy=policy.default)
                try:
                    found = [address.addr_spec for address in message["from"].addresses]
                except Exception:  # its parser is strict, and not free of faults
                    found = []
            self.check("email.policy.default", value, domain, found)
        print(f"{len(pairs)} of {VALUES} values were accepted")
        node = mxtest.find_program("node", "/usr/bin/nodejs")
        modules = os.path.join(mxtest.NODE_DIR, "node_modules")
        if not node or not os.path.isdir(os.path.join(modules, "nodemailer")):
            print("nodemailer is not installed: left out")
            return
        script = os.path.join(self.directory, "parse.js")
        with open(script, "w") as out:
            out.write(NODE_SCRIPT)
        listed = os.path.join(self.directory, "values.json")
        with open(listed, "w") as out:
            json.dump([value.replace("\r\n", "") for value, _ in pairs], out)
        with open(listed) as source:
            answer = mxtest.subprocess.run([node, script], stdin=source, capture_output=True,
                                           timeout=60, check=True,
                                           env=dict(os.environ, NODE_PATH=modules))
        for (value, domain), addresses in zip(pairs, json.loads(answer.stdout)):
            self.check("nodemailer", value, domain, addresses)

    def test_genuine_mail_is_taken(self):
        values = ["info@shop.test <info@shop.test>", "Foo, Inc. <x@shop.test>",
                  "A [b] <x@shop.test>", '"x" <x@shop.test>,', "foo..bar@shop.test",
                  "foo.@shop.test", "Foo; Bar <x@shop.test>"]
        self.assertEqual(self.accepted(values), [(value, "shop.test") for value in values])


if __name__ == "__main__":
    mxtest.main()
