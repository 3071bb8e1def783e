"""tuning/MIGRATION.md: its configurations run as they are printed, each with real mail, and the
commands under each say what the page says they do. Where the log is, which port is bound and which
resolver is asked comes from the environment, which goes over the file."""

import json
import os
import pathlib
import re
import smtplib
import ssl
import subprocess

import mxtest
from mxtest import Log, Wire
from odd_resolver import OddResolver

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests/decode/samples"
PAGE = (ROOT / "tuning/MIGRATION.md").read_text()
FILES = dict(re.findall(r"^```toml file=(\S+)\n(.*?)^```", PAGE, re.S | re.M))
COMMANDS = dict(re.findall(r"^```sh read=(\S+)\n(.*?)^```", PAGE, re.S | re.M))
EXPORT = re.search(r"^```sh\n(export MXRING_LOG__DIR=\S+)\n```", PAGE, re.M)
REFUSES = "refuses.test"  # publishes a DMARC policy of reject


def crlf(data):
    return re.sub(rb"\r?\n", b"\r\n", data)


def sample(name):
    return crlf((SAMPLES / f"{name}.eml").read_bytes())


class Page(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        resolver = OddResolver({f"_dmarc.{REFUSES}": [("TXT", "v=DMARC1; p=reject")]})
        self.addCleanup(resolver.stop)
        self.environment = {
            **os.environ, "MXRING_LOG__DIR": os.path.join(self.directory, "log"),
            "MXRING_LISTEN__SMTP": "127.0.0.1:0", "MXRING_DNS__SERVERS": resolver.address,
            # A machine with a nearly full disk still runs the tests.
            "MXRING_LIMITS__DISK_RESERVE_PERCENT": "0", "MXRING_LIMITS__DISK_RESERVE_SEGMENTS": "1",
            "PATH": os.path.dirname(mxtest.BINARY) + ":" + os.environ["PATH"]}

    def start(self, name, **more):
        """The printed file, byte for byte."""
        with open(os.path.join(self.directory, name), "w") as out:
            out.write(FILES[name])
        check = subprocess.run([mxtest.BINARY, "serve", "-c", name, "-t"], cwd=self.directory,
                               env=self.environment, capture_output=True, text=True, timeout=60)
        self.assertEqual(check.returncode, 0, check.stderr)
        server = Printed(self.directory, name, {**self.environment, **more})
        self.servers.append(server)
        return server.start()

    def read(self, name):
        """What the printed commands say."""
        done = subprocess.run(["sh", "-e", "-c", COMMANDS[name]], cwd=self.directory,
                              env=self.environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def facts(self, name):
        exported, *facts = self.read(name).splitlines()
        self.assertRegex(exported, "^[0-9]+ message")
        return [json.loads(line) for line in facts]


class Printed(mxtest.Server):
    def __init__(self, directory, name, env):
        super().__init__(directory, start=False, env=env)
        self.name = name

    def command(self):
        return [mxtest.BINARY, "serve", "-c", os.path.join(self.directory, self.name)]


class Configurations(Page):
    def test_each_has_its_commands(self):
        self.assertEqual(set(FILES), set(COMMANDS))
        self.assertGreaterEqual(len(FILES), 5)
        self.assertIsNotNone(EXPORT)

    def test_inbound_parse(self):
        server = self.start("parse.toml")
        with smtplib.SMTP(*server.address, timeout=30) as client:
            client.sendmail("news@sender.test", ["inbound+42@parse.example.org"], sample("mail"))
            with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
                client.sendmail("a@sender.test", ["joe@elsewhere.test"], sample("mail"))
            self.assertEqual(refused.exception.recipients["joe@elsewhere.test"][0], 550)
        (facts,) = self.facts("parse.toml")
        self.assertEqual(facts["type"], "mail")
        self.assertEqual(facts["message"]["attachments"][0]["name"], "übersicht.csv")
        self.assertEqual(self.facts("parse.toml")[1:], [])  # the group has dealt with it
        self.assertEqual(server.stop(), 0)

    def test_bounces(self):
        server = self.start("bounces.toml")
        nameless = re.sub(rb"(?m)^From: .*\r\n", b"From: MAILER-DAEMON\r\n", sample("bounce"),
                          count=1)
        with smtplib.SMTP(*server.address, timeout=30) as client:
            client.sendmail("", ["bounces+7f3a@bounces.example.org"], nameless)
        (facts,) = self.facts("bounces.toml")
        self.assertEqual(facts["type"], "bounce")
        self.assertEqual(facts["bounce"]["token"], "7f3a")
        self.assertEqual(server.stop(), 0)

    def test_complaints(self):
        server = self.start("complaints.toml")
        with smtplib.SMTP(*server.address, timeout=30) as client:
            client.sendmail("fbl@provider.test", ["abuse@fbl.example.org"], sample("complaint"))
        (facts,) = self.facts("complaints.toml")
        self.assertEqual((facts["type"], facts["complaint"]["feedback_type"]),
                         ("complaint", "abuse"))
        self.assertEqual(server.stop(), 0)

    def test_reports(self):
        server = self.start("reports.toml")
        forged = re.sub(rb"(?m)^From: .*\r\n", f"From: r@{REFUSES}\r\n".encode(), sample("tls"),
                        count=1)
        with smtplib.SMTP(*server.address, timeout=30) as client:
            client.sendmail("r@provider.test", ["dmarc@reports.example.org"], sample("dmarc"))
            client.sendmail("r@provider.test", ["tls@reports.example.org"], forged)
        self.assertEqual([r["disposition"] for r in Log(server.log_dir).records()],
                         ["accept", "quarantine"])
        self.assertEqual({f["type"] for f in self.facts("reports.toml")},
                         {"dmarc_report", "tls_report"})
        self.assertEqual(server.stop(), 0)

    def test_journaling(self):
        # What the test costs in disk is one large message; so is what a full disk must hold.
        server = self.start("journaling.toml", MXRING_LOG__SEGMENT_BYTES="256MiB",
                            MXRING_ACCESS__FILE=self.access("deny client 127.0.0.0/8 go away"))
        to = "archive@journal.example.org"
        with Wire(server.address, timeout=120) as wire:
            wire.hello()
            # Denied by a rule, and yet not for good.
            wire.ask("MAIL FROM:<j@corp.example>")
            self.assertEqual(wire.ask(f"RCPT TO:<{to}>").splitlines()[0], "454 4.7.1 go away")
            self.assertTrue(wire.ask("RCPT TO:<joe@elsewhere.test>").startswith("554 5.7.1"))
        self.assertEqual(server.stop(), 0)
        server = self.start("journaling.toml", MXRING_LOG__SEGMENT_BYTES="256MiB")
        with Wire(server.address, timeout=120) as wire:
            wire.hello()
            for data, reply in ((b"Subject: x\r\n\r\nbare\nLF\r\n", "450 4.5.2 Bare LF in message"),
                                (b"Received: x\r\n" * 1001 + b"\r\nx\r\n", "454 4.4.6 "),
                                (b"no field at all\r\n\r\n", "450 4.6.0 "),
                                (f"From: a@{REFUSES}\r\n\r\nkept\r\n".encode(), "250 2.0.0 "),
                                (b"Subject: no author\r\n\r\nkept\r\n", "250 2.0.0 "),
                                (sample("journal"), "250 2.0.0 ")):
                said = wire.message(data, "j@corp.example", [to])
                self.assertTrue(said.startswith(reply), said)
            # In chunks as well.
            wire.ask("MAIL FROM:<j@corp.example>")
            wire.ask(f"RCPT TO:<{to}>")
            body = b"Subject: x\r\n\r\nbare\nLF\r\n"
            wire.send(f"BDAT {len(body)} LAST\r\n".encode() + body)
            self.assertTrue(wire.reply().startswith("450 4.5.2"))
            # A SIZE that is too large is refused where it is known for whom, and for now only.
            self.assertTrue(wire.ask("MAIL FROM:<j@corp.example> SIZE=999999999").startswith("250"))
            self.assertTrue(wire.ask(f"RCPT TO:<{to}>").startswith("452 4.3.4 "))
            self.assertTrue(wire.ask("RCPT TO:<postmaster@journal.example.org>")
                            .startswith("552 5.3.4 "))
            self.assertTrue(wire.ask("RCPT TO:<joe@elsewhere.test>").startswith("550 5.7.1"))
            wire.ask("RSET")
            # One transaction does not make the next one lenient.
            self.assertTrue(wire.message(b"Subject: x\r\n\r\nbare\nLF\r\n", "j@corp.example",
                                         ["postmaster@journal.example.org"]).startswith("550 5.5.2"))
            large = sample("journal").replace(b"See the offer.",
                                              b"See the offer.\r\n" + (b"x" * 70 + b"\r\n") * 2_080_000)
            self.assertGreater(len(large), 149_000_000)
            said = wire.message(large, "j@corp.example", [to])
            self.assertTrue(said.startswith("250 2.0.0 "), said)
        records = Log(server.log_dir).records()
        self.assertEqual([r["disposition"] for r in records],
                         ["quarantine", "accept", "accept", "accept"])
        self.assertEqual(records[-1]["sha256"], mxtest.sha256(large))
        reports = [f for f in self.facts("journaling.toml") if f["type"] == "journal_report"]
        self.assertEqual([f["journal"]["sender"] for f in reports], ["carol@corp.example"] * 2)
        self.assertEqual(server.stop(), 0)

    def access(self, rule):
        path = os.path.join(self.directory, "access")
        with open(path, "w") as out:
            out.write(rule + "\n")
        return path

    def test_spam_traps(self):
        server = self.start("traps.toml")
        context = ssl._create_unverified_context()
        with smtplib.SMTP(*server.address, timeout=30) as client:
            client.starttls(context=context)
            for _ in range(2):
                client.sendmail("a@sender.test", ["trap@any.test"], sample("mail"))
        with Wire(server.address) as wire:  # without a greeting, without a header
            self.assertTrue(wire.message(b"\r\nbuy\r\n", "a@sender.test", ["t@any.test"])
                            .startswith("250"))
        with Wire(server.address) as wire:
            wire.hello()
            self.assertTrue(wire.message(f"From: a@{REFUSES}\r\n\r\nx\r\n".encode(),
                                         "a@sender.test", ["t@any.test"]).startswith("250"))
        lines = self.read("traps.toml").splitlines()
        self.assertEqual(len(lines), 2)
        self.assertIn("2 127.0.0.0/24 no TLS", lines)
        self.assertRegex("\n".join(lines), r"2 127\.0\.0\.0/24 t13i\d{4}00_[0-9a-f]{12}_[0-9a-f]{12}")
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    mxtest.main()
