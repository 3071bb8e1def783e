"""Mail signed by a real mail server on its way: Postfix with opendkim signs and relays it to us,
the keys come from a real name server, and the log says what the signatures are worth.
"""

import json
import os
import smtplib
import socket
import subprocess
import sys

import dns_server
import mxtest
from mxtest import Log, sample_message, wait_until
from postfix import Postfix

OPENDKIM = """
Syslog no
Mode s
Socket inet:{port}@127.0.0.1
Canonicalization relaxed/simple
RequireSafeKeys no
SigningTable refile:{base}/signing
KeyTable file:{base}/keys
"""
# The domains' fates: a key in DNS, another key there than the one that signs, one taken back, none.
SIGNING = ("signed.test", "other.test", "revoked.test", "missing.test")
SELECTOR = "s2026"


class PostfixAndOpenDkim(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        opendkim = self.need("opendkim")
        zones = {"plain.test": ""}
        for domain in SIGNING:
            zones[domain] = self.key_record(domain)
        self.dns = self.serve_dns(zones)
        server = self.serve({"dns": {"servers": [self.dns.address]},
                             "auth": {"spf": True, "dkim": True, "dmarc": True}})
        self.log = Log(server.log_dir)
        filter_port = self.start_opendkim(opendkim)
        self.postfix = Postfix(self, server.port,
                               f"smtpd_milters = inet:127.0.0.1:{filter_port}\n"
                               "milter_default_action = tempfail\n")

    def key_record(self, domain):
        """Makes the domain's key; what its zone says."""
        done = self.run_client([mxtest.BINARY, "dkim", "keygen", "--domain", domain, "--selector",
                                SELECTOR, "--out", self.directory, "--json"])
        value = json.loads(done.stdout)["record_value"]
        if domain == "other.test":
            with open(os.path.join(self.directory, "signed.value")) as other:
                value = other.read()
        if domain == "signed.test":
            with open(os.path.join(self.directory, "signed.value"), "w") as out:
                out.write(value)
        if domain == "revoked.test":
            value = "v=DKIM1; k=rsa; p="
        if domain == "missing.test":
            return ""
        return f"{SELECTOR}._domainkey TXT {dns_server.strings(value)}\n"

    def start_opendkim(self, program):
        port = mxtest.free_port()
        for name, text in {
                "opendkim.conf": OPENDKIM.format(port=port, base=self.directory),
                "signing": "".join(f"*@{domain} {domain}\n" for domain in SIGNING),
                "keys": "".join(f"{domain} {domain}:{SELECTOR}:{self.directory}/{SELECTOR}."
                                f"{domain}.pem\n" for domain in SIGNING)}.items():
            with open(os.path.join(self.directory, name), "w") as out:
                out.write(text)
        log_file = os.path.join(self.directory, "opendkim.log")
        with open(log_file, "wb") as log:
            process = subprocess.Popen(
                [program, "-f", "-x", os.path.join(self.directory, "opendkim.conf")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def listening():
            with open(log_file) as text:
                self.assertIsNone(process.poll(), text.read())
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listening, 20, "opendkim listens")
        return port

    def test_the_log_says_what_the_signatures_are_worth(self):
        domains = [*SIGNING, "plain.test"]
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=30) as client:
            for number, domain in enumerate(domains):
                message = sample_message(500 * (number + 1), f"to{number}")
                message = message.replace(b"alice@client.test", b"alice@" + domain.encode())
                client.sendmail(f"alice@{domain}", ["b@mx.test"], message)
        try:
            wait_until(lambda: len(self.log.records()) == len(domains), 60, "all relayed")
        except AssertionError:
            print(self.postfix.maillog(), file=sys.stderr)
            raise
        records = {r["mail_from"].split("@")[1]: r for r in self.log.records()}
        results = {domain: [s["result"] for s in records[domain]["dkim"]] for domain in domains}
        self.assertEqual(results, {"signed.test": ["pass"], "other.test": ["fail"],
                                   "revoked.test": ["permerror"], "missing.test": ["permerror"],
                                   "plain.test": []})
        for domain in SIGNING:
            signature, = records[domain]["dkim"]
            self.assertEqual((signature["domain"], signature["selector"], signature["algorithm"]),
                             (domain, SELECTOR, "rsa-sha256"))
            self.assertEqual(signature["reason"] == "", domain == "signed.test", signature)
        # The command says the same of the stored message.
        stored = os.path.join(self.directory, "stored.eml")
        with open(stored, "wb") as out:
            out.write(self.log.as_received(records["signed.test"]["offset"]))
        done = self.run_client([mxtest.BINARY, "dkim", "verify", "--json", "--exact",
                                "--resolver", self.dns.address, stored])
        self.assertEqual([s["result"] for s in json.loads(done.stdout)["signatures"]], ["pass"])


if __name__ == "__main__":
    mxtest.main()
