"""Verdicts when something else is wrong: resolvers that know no EDNS or refuse, a share of questions
that is spent, header sections over the limits, bounces without an author."""

import base64
import json
import os
import socket
import subprocess
import unittest

import mxtest
from mxtest import BINARY, Log, Wire
from odd_resolver import OddResolver

ALL = {"spf": True, "dkim": True, "dmarc": True}
ZONE = {
    "s.test": [("TXT", "v=spf1 ip4:127.0.0.1 -all")],
    "_dmarc.s.test": [("TXT", "v=DMARC1; p=reject")],
    "1.0.0.127.in-addr.arpa": [("PTR", "c.test")],
    "c.test": [("A", "127.0.0.1")],
}
MESSAGE = b"From: a@s.test\r\nSubject: x\r\n\r\nx\r\n"


def mxring(*args, stdin=b"", code=0):
    done = subprocess.run([BINARY, *args], input=stdin, capture_output=True, timeout=60, check=False)
    if done.returncode != code:
        raise AssertionError(f"exit {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done


class Resolvers(mxtest.TestCase):
    def resolver(self, **how):
        resolver = OddResolver(ZONE, **how)
        self.addCleanup(resolver.stop)
        return resolver

    def served(self, resolver, messages=3):
        server = self.serve({"auth": ALL, "dns": {"servers": [resolver.address]},
                             "shards": {"count": 1}})
        with Wire(server.address) as wire:
            wire.hello()
            for _ in range(messages):
                self.assertRegex(wire.message(MESSAGE, sender="a@s.test"), r"^250 ")
        self.assertEqual(server.stop(), 0)
        return server, Log(server.log_dir).records()

    def test_servers_without_edns_are_asked_without_it(self):
        for manner in ("formerr", "notimp", "drop"):
            with self.subTest(manner):
                resolver = self.resolver(manner=manner)
                server, records = self.served(resolver)
                for record in records[-3:]:
                    self.assertEqual(record["spf"]["result"], "pass")
                    self.assertEqual(record["dmarc"]["result"], "pass")
                self.assertNotIn("resolver", server.stderr())
                # What has been found out is remembered.
                self.assertFalse(any(options for _, _, options in resolver.questions[-2:]))

    def test_one_that_refuses_everything_is_told_of_once(self):
        resolver = self.resolver(manner="refuse")
        server, records = self.served(resolver, messages=5)
        self.assertEqual({r["spf"]["result"] for r in records}, {"temperror"})
        said = [line for line in server.stderr().splitlines() if "refuses every question" in line]
        self.assertEqual(len(said), 1, server.stderr())
        self.assertIn(resolver.address, said[0])

    def test_probe_tries_resolvers_ports_and_the_log(self):
        def probe(resolver, code, *args):
            config = os.path.join(self.directory, "probe.toml")
            with open(config, "w") as out:
                out.write(mxtest.toml({"": {"hostname": "mx.test"},
                                       "log": {"dir": os.path.join(self.directory, "probe-log")}}))
            done = mxring("serve", "-t", "--probe", "-c", config, "--smtp", "127.0.0.1:0",
                          "--resolver", resolver.address, *args, code=code)
            self.assertFalse(os.path.exists(os.path.join(self.directory, "probe-log")))
            return done.stderr.decode()

        good = self.resolver()
        self.assertIn(f"{good.address} answers", probe(good, 0))
        old = self.resolver(manner="drop")
        self.assertIn("does not know EDNS", probe(old, 0))
        refusing = self.resolver(manner="refuse")
        self.assertIn(f"{refusing.address} refuses every question", probe(refusing, 1))
        silent = self.resolver(raw=lambda query, tcp: b"")
        self.assertIn(f"{silent.address} does not answer", probe(silent, 1))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            said = probe(good, 1, "--smtp", address)
            self.assertIn(f"listen.smtp: cannot listen on {address}", said)


class Header(mxtest.TestCase):
    """`mxring auth` on what the server refuses before any verdict."""

    def judged(self, message):
        done = mxring("auth", "--ip", "192.0.2.7", "--mail-from", "a@s.test", "--helo", "s.test",
                      "--resolver", self.resolver.address, "--json", "--exact", stdin=message)
        return json.loads(done.stdout)

    def test_over_the_limits(self):
        self.resolver = OddResolver(ZONE)
        self.addCleanup(self.resolver.stop)
        head = b"From: a@s.test\r\n"
        for fields, value, reply in ((999, b"x", "550 5.7.26 "), (1000, b"x", "552 5.3.4 "),
                                     (3, b"x" * 60_000, "552 5.3.4 ")):
            message = head + (b"X-Field: " + value + b"\r\n") * fields + b"\r\nbody\r\n"
            verdict = self.judged(message)
            self.assertEqual(verdict["disposition"], "reject")
            self.assertTrue(verdict["reply"].startswith(reply), verdict["reply"])
            self.assertEqual(verdict["spf"]["result"], "fail")
            over = reply.startswith("552")
            self.assertEqual(verdict["dmarc"] is None, over)
            self.assertEqual(verdict["authentication_results"] == "", over)
            text = mxring("auth", "--ip", "192.0.2.7", "--mail-from", "a@s.test", "--helo",
                          "s.test", "--resolver", self.resolver.address, "--exact", stdin=message)
            self.assertIn(reply, text.stdout.decode())


class Bounces(mxtest.TestCase):
    """Real bounces, with a null reverse-path."""

    CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "shared",
                          "corpora", "bounce-sisimai")

    def bounces(self):
        for folder, _, names in os.walk(self.CORPUS):
            for name in sorted(names):
                if name.endswith(".eml"):
                    path = os.path.join(folder, name)
                    with open(path, "rb") as message:
                        data = message.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                    yield name, data if data.endswith(b"\r\n") else data + b"\r\n"

    def test_each_is_stored_or_named(self):
        bounces = list(self.bounces())
        if not bounces:
            self.skipTest("no corpus bounce-sisimai")
        resolver = OddResolver({})
        self.addCleanup(resolver.stop)
        server = self.serve({"auth": ALL, "dns": {"servers": [resolver.address]},
                             "limits": {"messages_per_connection": 10_000, "errors_hard": 10_000,
                                        "errors_soft": 10_000}})
        refused = {}
        with Wire(server.address) as wire:
            wire.hello()
            for name, message in bounces:
                answer = wire.message(message, sender="")
                if not answer.startswith("250"):
                    refused[name] = answer
        for name, answer in refused.items():
            print(f"not stored: {name}: {answer}")
        print(f"{len(bounces) - len(refused)} of {len(bounces)} bounces stored")
        for name, answer in refused.items():
            # Of each there is a reason that is the message's own.
            self.assertRegex(answer, r"^(550 5\.6\.0|550 5\.5\.2|552 5\.3\.4|554 5\.4\.6) ", name)
        # A line of an mbox on top is another matter than who the author is.
        mbox = {name for name, message in bounces if message.startswith(b"From ")}
        self.assertLess(len(refused.keys() - mbox), len(bounces) // 100)
        self.assertEqual(server.stop(), 0)
        records = Log(server.log_dir).records()
        self.assertEqual(len(records), len(bounces) - len(refused))
        without = 0
        for record in records:
            self.assertIsNotNone(record["dmarc"])
            if not record["dmarc"]["from_domain"]:
                without += 1
                self.assertEqual(record["dmarc"]["result"], "permerror")
                if without == 1:
                    delivered = Log(server.log_dir).delivered(record["offset"])
                    self.assertIn(b"dmarc=permerror", delivered)
        print(f"{without} of them name no author")


def in_own_network():
    """True in a network namespace of this test's own, where clients need not be on loopback."""
    return os.environ.get("MXRING_OWN_NETWORK") == "1"


class Quota(mxtest.TestCase):
    """A client that has spent its share of questions is not judged less strictly. Clients on loopback
    have no share, so this runs again in a network namespace of its own."""

    def test_in_a_namespace(self):
        if in_own_network():
            self.spend_and_spoof()
            return
        inner = ["sh", "-c", "ip link set lo up && ip addr add 192.0.2.2/32 dev lo && exec \"$@\"",
                 "sh", "python3", "-B", os.path.abspath(__file__), "Quota"]
        probe = subprocess.run(["unshare", "-rn", "sh", "-c", "ip link set lo up"],
                               capture_output=True, timeout=20, check=False)
        if probe.returncode != 0:
            self.skipTest("no network namespaces here (unshare, ip)")
        done = subprocess.run(["unshare", "-rn", *inner], capture_output=True, timeout=90,
                              env={**os.environ, "MXRING_OWN_NETWORK": "1"}, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))

    def spend_and_spoof(self):
        zone = {"bank.test": [("TXT", "v=spf1 -all")],
                "_dmarc.bank.test": [("TXT", "v=DMARC1; p=reject")],
                "evil.test": [("TXT", "v=spf1 +all")]}
        resolver = OddResolver(zone, silent=["slow.test"])
        self.addCleanup(resolver.stop)
        server = self.serve({"listen": {"smtp": ["192.0.2.2:0"]}, "auth": ALL,
                             "dns": {"servers": [resolver.address]}, "shards": {"count": 1}})
        bits = base64.b64encode(b"x" * 128).decode()
        digest = base64.b64encode(b"\0" * 32).decode()

        def signature(domain, selector):
            return (f"DKIM-Signature: v=1; a=rsa-sha256; d={domain}; s={selector}; h=from; "
                    f"bh={digest}; b={bits}\r\n")

        def spoof(selector, domain="bank.test"):
            return (signature(domain, selector) + "From: ceo@bank.test\r\n\r\npay\r\n").encode()

        with Wire(server.address) as wire:
            wire.hello()
            self.assertRegex(wire.message(spoof("s1"), sender="a@evil.test"), r"^550 5\.7\.26 ")
            held = []
            for i in range(28):
                client = Wire(server.address)
                self.addCleanup(client.close)
                held.append(client)
                client.hello()
                for command in ("MAIL FROM:<a@evil.test>", "RCPT TO:<b@r.test>", "DATA"):
                    client.ask(command)
                client.send("".join(signature("slow.test", f"s{i}-{k}") for k in range(10)) +
                            "From: a@evil.test\r\n\r\nhi\r\n")
            mxtest.wait_until(lambda: sum("slow.test" in n for n, _, _ in resolver.questions) >= 250,
                              20, "the share of questions to be spent")
            answer = wire.message(spoof("s2"), sender="a@evil.test")
            self.assertRegex(answer, r"^451 4\.4\.5 ")
            # A key that could not vouch for the author changes nothing.
            answer = wire.message(spoof("s3", "evil.test"), sender="a@evil.test")
            self.assertRegex(answer, r"^550 5\.7\.26 ")


if __name__ == "__main__":
    mxtest.main()
