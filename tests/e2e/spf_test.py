"""SPF with a real authoritative name server: server, client, and the result in the log."""

import os
import time

import dns_server
import mxtest
from mxtest import Log, Wire, sample_message, wait_until

# What 127.0.0.1 may send: each domain, its records, and the result.
LONG = "v=spf1 " + " ".join(f"ip4:198.51.100.{i}" for i in range(200)) + " ip4:127.0.0.1 -all"
SENDERS = """
pass      TXT "v=spf1 ip4:127.0.0.0/8 -all"
fail      TXT "v=spf1 ip4:192.0.2.1 -all"
softfail  TXT "v=spf1 a:www.fail ~all"
neutral   TXT "v=spf1 ?all"
empty     TXT "no SPF here"
two       TXT "v=spf1 -all"
two       TXT "v=spf1 +all"
wrong     TXT "v=spf1 ip4:127.0.0.1.1 -all"
included  TXT "v=spf1 include:_spf.included.sender.test -all"
_spf.included TXT "v=spf1 mx:hosts.sender.test -all"
hosts     MX 10 away.sender.test.
hosts     MX 20 here.sender.test.
away      A 192.0.2.7
here      A 127.0.0.1
redirect  TXT "v=spf1 redirect=pass.sender.test"
alias     CNAME pass
macro     TXT "v=spf1 exists:%{ir}.%{l}._in.%{d} -all"
1.0.0.127.user._in.macro A 127.0.0.2
named     TXT "v=spf1 ptr:client.test -all"
split     TXT "v=spf1 ip4:127." "0.0.1 -all"
long      TXT {long}
xn--kln-sna TXT "v=spf1 ip4:127.0.0.1 -all"
deep      TXT "v=spf1 include:deep.sender.test -all"
""".replace("{long}", dns_server.strings(LONG))
CASES = [
    ("user@pass.sender.test", "pass"),
    ("user@fail.sender.test", "fail"),
    ("user@softfail.sender.test", "softfail"),
    ("user@neutral.sender.test", "neutral"),
    ("user@empty.sender.test", "none"),
    ("user@nowhere.sender.test", "none"),
    ("user@two.sender.test", "permerror"),
    ("user@wrong.sender.test", "permerror"),
    ("user@included.sender.test", "pass"),
    ("user@redirect.sender.test", "pass"),
    ("user@alias.sender.test", "pass"),
    ("user@macro.sender.test", "pass"),
    ("other@macro.sender.test", "fail"),
    ("user@named.sender.test", "pass"),
    ("user@split.sender.test", "pass"),
    ("user@long.sender.test", "pass"),
    ("user@k\u00f6ln.sender.test", "pass"),
    ("user@deep.sender.test", "permerror"),
    # The server refuses questions about other people's names.
    ("user@elsewhere.test", "temperror"),
]
ZONES = {
    "sender.test": SENDERS.replace("www.fail", "www.fail.sender.test"),
    "client.test": 'mail A 127.0.0.1\nhelo TXT "v=spf1 ip4:127.0.0.1 -all"\n',
    "127.in-addr.arpa": "1.0.0 PTR mail.client.test.\n",
}


class Knot(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        self.dns = self.serve_dns(ZONES)
        self.server = self.serve({"dns": {"servers": [self.dns.address], "timeout": "2s"},
                                  "auth": {"spf": True, "dkim": False, "dmarc": False}})
        self.log = Log(self.server.log_dir)

    def send(self, *senders, helo="helo.client.test"):
        """One message from each of them over one connection; the records."""
        with Wire(self.server.address) as wire:
            self.assertTrue(wire.ask(f"EHLO {helo}").startswith("250"))
            for sender in senders:
                marker = f"m{len(sender)}"
                for command in (f"MAIL FROM:<{sender}> SMTPUTF8", "RCPT TO:<b@mx.test>", "DATA"):
                    answer = wire.ask(command)
                    self.assertIn(answer[:3], ("250", "354"), answer)
                wire.send(mxtest.stuffed(sample_message(marker=marker)))
                self.assertTrue(wire.reply().startswith("250"))
        return self.log.records()[-len(senders):]

    def test_results_are_in_the_log(self):
        records = self.send(*(sender for sender, _ in CASES))
        self.assertEqual([(r["mail_from"], r["spf"]["result"]) for r in records], CASES)
        for record, (sender, _) in zip(records, CASES):
            domain = sender.split("@")[1].replace("k\u00f6ln", "xn--kln-sna")
            self.assertEqual(record["spf"]["domain"], domain)
            self.assertEqual(record["spf"]["identity"], "mailfrom")
        mechanisms = {r["mail_from"].split("@")[1].split(".")[0]: r["spf"]["mechanism"]
                      for r in records if r["spf"]["result"] == "pass"}
        self.assertEqual(mechanisms["pass"], "ip4:127.0.0.0/8")
        self.assertEqual(mechanisms["included"], "include:_spf.included.sender.test")
        self.assertEqual(mechanisms["named"], "ptr:client.test")
        # A server that refuses the questions about the root and the client answers all the same.
        self.assertNotIn("resolver", self.server.stderr())

    def test_the_null_reverse_path_and_the_clients_name(self):
        self.send("")
        record = self.send("")[0]
        self.assertEqual(record["spf"]["identity"], "helo")
        self.assertEqual(record["spf"]["domain"], "helo.client.test")
        self.assertEqual(record["spf"]["result"], "pass")
        self.assertEqual(record["client"]["name"], "mail.client.test")

    def test_the_command_says_the_same(self):
        for sender, result in CASES:
            done = self.run_client([mxtest.BINARY, "spf", "--json", "--ip", "127.0.0.1",
                                    "--mail-from", sender, "--helo", "helo.client.test",
                                    "--resolver", self.dns.address])
            self.assertIn(f'"result":"{result}"', done.stdout.decode(), sender)

    def test_a_server_that_goes_and_comes_back(self):
        self.dns.pause()
        began = time.monotonic()
        record = self.send("user@pass.sender.test")[0]
        self.assertEqual(record["spf"]["result"], "temperror")
        self.assertLess(time.monotonic() - began, 10)
        # Once known to be gone, nobody waits for it.
        began = time.monotonic()
        self.assertEqual(self.send("user@fail.sender.test")[0]["spf"]["result"], "temperror")
        self.assertLess(time.monotonic() - began, 1)
        self.dns.start()
        wait_until(lambda: self.send("user@pass.sender.test")[0]["spf"]["result"] == "pass", 20,
                   "the name server is noticed again")


if __name__ == "__main__":
    mxtest.main()
