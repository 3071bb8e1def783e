"""DMARC with a real name server: genuine and spoofed mail under every policy, what the client is
told, what is in the log, what readers get, and that `mxring auth` says the same about a file."""

import json
import os
import subprocess

import dns_server
import mxtest
from mxtest import BINARY, Log, Wire

POLICIES = ("none", "quarantine", "reject")
SPOOFED = {"none": ("accept", "^250"), "quarantine": ("quarantine", "^250"),
           "reject": ("reject", r"^550 5\.7\.26 .*reject\.test")}


class Knot(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        self.need("knotd")
        # One zone for the whole top-level domain: the walk for a policy goes up to it.
        zone = 'stranger TXT "v=spf1 ip4:127.0.0.1 -all"\n'
        self.keys = {}
        for policy in POLICIES:
            domain = f"{policy}.test"
            key = json.loads(self.mxring("dkim", "keygen", "--domain", domain, "--selector", "k",
                                         "--out", self.directory, "--json"))
            self.keys[domain] = key["private_key_file"]
            zone += (f'{policy} TXT "v=spf1 ip4:192.0.2.1 -all"\n'
                     f'_dmarc.{policy} TXT "v=DMARC1; p={policy}; rua=mailto:d@{domain}"\n'
                     f'sub.{policy} TXT "v=spf1 ip4:127.0.0.1 -all"\n' + key["zone_lines"])
        self.dns = dns_server.DnsServer(self.directory, {"test": zone})
        self.addCleanup(self.dns.stop)
        self.server = self.serve({"auth": {"spf": True, "dkim": True, "dmarc": True},
                                  "dns": {"servers": [self.dns.address]}})
        self.log = Log(self.server.log_dir)
        self.wire = Wire(self.server.address)
        self.addCleanup(self.wire.close)
        self.wire.hello()

    def mxring(self, *args, **more):
        done = subprocess.run([BINARY, *args], capture_output=True, timeout=60, check=False,
                              **more)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout.decode()

    @staticmethod
    def message(domain, extra=b""):
        return extra + (f"From: Ann <ann@{domain}>\r\nTo: b@mx.test\r\nSubject: news\r\n"
                        "Date: Sun, 22 Nov 2026 01:02:03 +0000\r\n"
                        f"Message-ID: <1@{domain}>\r\n\r\nHello.\r\n").encode()

    def signed(self, domain):
        name = os.path.join(self.directory, "to-sign.eml")
        with open(name, "wb") as out:
            out.write(self.message(domain))
        return self.mxring("dkim", "sign", "--key", self.keys[domain], "--domain", domain,
                           "--selector", "k", "--exact", name).encode()

    def judged(self, message, sender):
        """What `mxring auth` says of the message as a file."""
        name = os.path.join(self.directory, "to-judge.eml")
        with open(name, "wb") as out:
            out.write(message)
        return json.loads(self.mxring(
            "auth", "--ip", "127.0.0.1", "--mail-from", sender, "--helo", "client.test",
            "--hostname", "mx.test", "--resolver", self.dns.address, "--exact", "--json", name))

    def test_genuine_and_spoofed_mail(self):
        expected = []
        for policy in POLICIES:
            domain = f"{policy}.test"
            cases = [
                # Signed by its domain and relayed by a stranger.
                (self.signed(domain), "list@stranger.test", "pass", "accept", "^250"),
                # Sent from a host of a subdomain.
                (self.message(domain), f"a@sub.{domain}", "pass", "accept", "^250"),
                # A stranger's own mail, but for its From field.
                (self.message(domain), "a@stranger.test", "fail", *SPOOFED[policy]),
            ]
            for message, sender, result, disposition, reply in cases:
                answer = self.wire.message(message, sender=sender)
                self.assertRegex(answer, reply)
                expected.append((domain, result, disposition))
                verdict = self.judged(message, sender)
                self.assertEqual((verdict["dmarc"]["result"], verdict["disposition"]),
                                 (result, disposition))
                self.assertEqual(verdict["reply"][:3], answer[:3])
        records = self.log.records("--refused")
        self.assertEqual([(r["dmarc"]["from_domain"], r["dmarc"]["result"], r["disposition"])
                          for r in records], expected)
        self.assertEqual([r["offset"] for r in records], list(range(len(expected))))
        # Readers see what was accepted, under the offsets clients were told.
        self.assertEqual([r["offset"] for r in self.log.records()],
                         [i for i, (_, _, d) in enumerate(expected) if d != "reject"])
        code, report = self.log.verify()
        self.assertEqual((code, report["ok"]), (0, True))
        status = json.loads(self.mxring("log", "info", self.log.directory, "--json"))
        self.assertEqual(status["next"], len(expected))

    def test_results_field(self):
        forged = b"Authentication-Results: (x) MX.test; dmarc=pass header.from=none.test\r\n"
        kept = b"Authentication-Results: relay.test; spf=pass\r\n"
        message = self.message("quarantine.test", forged + kept)
        self.assertRegex(self.wire.message(message, sender="a@stranger.test"), "^250")
        delivered = self.log.delivered(0)
        top = delivered[:delivered.index(b"Received:")].replace(b"\r\n\t", b" ").decode()
        self.assertTrue(top.startswith("Return-Path: <a@stranger.test>\r\nAuthentication-"), top)
        self.assertIn("Authentication-Results: mx.test;", top)
        self.assertIn("dmarc=fail header.from=quarantine.test policy.dmarc=quarantine", top)
        self.assertIn("spf=pass smtp.mailfrom=a@stranger.test", top)
        self.assertIn("dkim=none", top)
        self.assertNotIn(b"(x) MX.test", delivered)
        self.assertIn(kept, delivered)
        self.assertEqual(self.log.as_received(0), message)
        self.assertEqual(self.judged(message, "a@stranger.test")["authentication_results"]
                         .replace("\r\n\t", " ").rstrip().split("; "),
                         top[top.index("Authentication"):].rstrip().split("; "))

    def test_no_name_server(self):
        self.dns.stop()
        self.assertRegex(self.wire.message(self.message("reject.test"), sender="a@stranger.test"),
                         "^250")
        self.assertEqual(self.log.records()[0]["dmarc"]["result"], "temperror")


if __name__ == "__main__":
    mxtest.main()
