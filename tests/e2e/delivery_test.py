"""Real clients deliver, and the log holds exactly the bytes they sent."""

import os
import re
import smtplib
import sys

import mxtest
from mxtest import Log, sample_message, sha256
from postfix import Postfix


class DeliveryCase(mxtest.TestCase):
    """One server behind a recorder, and the comparison every client is held to."""

    CONFIG = {}

    def setUp(self):
        super().setUp()
        self.server = self.serve(self.CONFIG)
        self.log = Log(self.server.log_dir)
        self.recorder = mxtest.Recorder(self.server.address)
        self.addCleanup(self.recorder.close)
        self.port = self.recorder.port

    def message_file(self, message, newline=b"\r\n", name="message.eml"):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as out:
            out.write(message.replace(b"\r\n", newline))
        return path

    def assert_logged(self, messages=None, sender="a@client.test", recipients=("b@mx.test",)):
        """The log holds what went over the wire, each message once and whole, and nothing else.

        `messages` are what the client was given; None when it changes them."""
        sent = self.recorder.messages
        if messages is not None:
            self.assertEqual(sorted(sent), sorted(messages))
        records = self.log.records()
        self.assertEqual(sorted(r["sha256"] for r in records), sorted(map(sha256, sent)))
        self.assertEqual([r["offset"] for r in records], list(range(len(sent))))
        by_hash = {sha256(m): m for m in sent}
        for record in records:
            self.assertEqual(record["size"], len(by_hash[record["sha256"]]))
            self.assertEqual(record["mail_from"], sender)
            self.assertEqual(sorted(record["rcpt_to"]), sorted(recipients))
            self.assertEqual(record["client"]["ip"], "127.0.0.1")
        everything = b"".join(by_hash[r["sha256"]] for r in records)
        self.assertEqual(self.log.run("cat", "--as-received").stdout, everything)


class Smtplib(DeliveryCase):
    # Messages that are all body have no From field, and no header section to vouch for.
    CONFIG = {"auth": {"dmarc": False}}

    def client(self):
        return smtplib.SMTP("127.0.0.1", self.port, timeout=30)

    def test_messages_of_many_sizes(self):
        # Around the sizes of receive buffers, and with every kind of last line.
        sizes = [1, 500, 4096, 16383, 16384, 16385, 65536, 300_000, 2_000_000]
        messages = [sample_message(size, f"size{size}") for size in sizes]
        messages += [b"Subject: only a header\r\n", b"\r\n", b".\r\n", b"a\r\n.\r\n\r\n"]
        with self.client() as client:
            for message in messages:
                client.sendmail("a@client.test", ["b@mx.test"], message)
        self.assert_logged(messages)

    def test_many_recipients_null_sender_and_utf8(self):
        message = sample_message(600, "many")
        recipients = [f"user{i}@mx.test" for i in range(100)]
        with self.client() as client:
            client.sendmail("", recipients, message)
            client.sendmail("jos\u00e9@client.test", ["b\u00fcro@mx.test"],
                            "Subject: \u00e9\r\n\r\nx\r\n".encode(), ["SMTPUTF8", "BODY=8BITMIME"])
        first, second = self.log.records()
        self.assertEqual((first["mail_from"], first["rcpt_to"]), ("", recipients))
        self.assertEqual(first["sha256"], sha256(message))
        self.assertEqual(second["mail_from"], "jos\u00e9@client.test")
        self.assertEqual(second["rcpt_to"], ["b\u00fcro@mx.test"])

    def test_long_addresses(self):
        # A forwarded bounce: SRS around VERP (RFC 5321 4.5.3.1 asks for no limit).
        sender = ("srs0=hash=tt=list.test=bounces+" + "x" * 400 + "=b@mx.test")
        recipient = "bounces+" + "y" * 504 + "@mx.test"
        message = sample_message(600, "long")
        with self.client() as client:
            client.sendmail(sender, [recipient], message)
            client.ehlo()
            self.assertEqual(client.mail("x" * 513 + "@mx.test"),
                             (501, b"5.1.7 Sender address too long"))
            client.mail("a@client.test")
            self.assertEqual(client.rcpt("x" * 513 + "@mx.test"),
                             (501, b"5.1.3 Recipient address too long"))
        record = self.log.records()[0]
        self.assertEqual((record["mail_from"], record["rcpt_to"]), (sender, [recipient]))
        delivered = self.log.delivered(0)
        self.assertTrue(delivered.startswith(f"Return-Path: <{sender}>\r\n".encode()))
        self.assertIn(f"\tfor <{recipient}>".encode(), delivered)
        self.assertLessEqual(max(map(len, delivered.split(b"\r\n"))), 998)

    def test_reply_names_the_offset(self):
        with self.client() as client:
            client.ehlo()
            for offset in range(3):
                client.mail("a@client.test")
                client.rcpt("b@mx.test")
                code, text = client.data(sample_message())
                self.assertEqual((code, text), (250, f"2.0.0 Ok {offset}".encode()))

    def test_delivered_form_has_our_trace_fields(self):
        message = sample_message(600, "trace")
        with self.client() as client:
            client.sendmail("a@client.test", ["b@mx.test"], message)
        delivered = self.log.delivered(0)
        self.assertTrue(delivered.endswith(message))
        trace = delivered[:-len(message)].decode()
        self.assertTrue(trace.startswith("Return-Path: <a@client.test>\r\n"), trace)
        self.assertRegex(trace, r"\r\nReceived: from .*127\.0\.0\.1")
        self.assertIn("by mx.test", trace)


class Swaks(DeliveryCase):
    """swaks puts an empty line behind the data it is given."""

    def send(self, message, *flags):
        swaks = self.need("swaks")
        self.run_client([swaks, "--server", "127.0.0.1", "--port", str(self.port),
                         "--from", "a@client.test", "--helo", "swaks.test",
                         "--data", "@" + self.message_file(message), *flags])
        self.assertEqual(self.recorder.messages[-1].rstrip(), message.rstrip())

    def test_message_from_a_file(self):
        self.send(sample_message(5000, "swaks"), "--to", "b@mx.test")
        self.assert_logged()
        self.assertEqual(self.log.records()[0]["client"]["helo"], "swaks.test")

    def test_pipelining(self):
        recipients = [f"user{i}@mx.test" for i in range(20)]
        self.send(sample_message(700, "pipeline"), "--pipeline", "--to", ",".join(recipients))
        self.assert_logged(recipients=recipients)

    def test_its_own_message(self):
        swaks = self.need("swaks")
        self.run_client([swaks, "--server", "127.0.0.1", "--port", str(self.port),
                         "--from", "a@client.test", "--to", "b@mx.test"])
        self.assert_logged()


class Curl(DeliveryCase):
    def test_upload(self):
        curl = self.need("curl")
        messages = [sample_message(size, f"curl{size}") for size in (300, 50_000)]
        for message in messages:
            self.run_client([curl, "-sS", f"smtp://127.0.0.1:{self.port}/client.test",
                             "--mail-from", "a@client.test", "--mail-rcpt", "b@mx.test",
                             "-T", self.message_file(message)])
        self.assert_logged(messages)


class SmtpSource(DeliveryCase):
    """Postfix's load generator; it puts an empty line behind the lines of its file."""

    def send(self, *flags, messages=60):
        source = self.need("smtp-source")
        message = sample_message(3000, "source")
        self.run_client([source, *flags, "-m", str(messages), "-s", "6", "-f", "a@client.test",
                         "-t", "b@mx.test", "-F", self.message_file(message, newline=b"\n"),
                         f"inet:127.0.0.1:{self.port}"])
        self.assert_logged([message + b"\r\n"] * messages)

    def test_a_connection_for_each_message(self):
        self.send()
        self.assertGreaterEqual(self.recorder.connections, 60)

    def test_connections_kept(self):
        self.send("-d")
        self.assertLess(self.recorder.connections, 10)

    def test_generated_messages(self):
        source = self.need("smtp-source")
        self.run_client([source, "-d", "-m", "40", "-s", "4", "-l", "20000", "-f", "a@client.test",
                         "-t", "b@mx.test", f"inet:127.0.0.1:{self.port}"])
        self.assertEqual(len(self.recorder.messages), 40)
        self.assert_logged()


class Nodemailer(DeliveryCase):
    SCRIPT = """
const nodemailer = require('nodemailer');
const fs = require('fs');
const [port, ...files] = process.argv.slice(2);
const transport = nodemailer.createTransport(
    {host: '127.0.0.1', port: Number(port), secure: false, ignoreTLS: true, pool: true,
     maxConnections: 2, name: 'node.test'});
Promise.all(files.map(file => transport.sendMail(
    {envelope: {from: 'a@client.test', to: ['b@mx.test']}, raw: fs.readFileSync(file)})))
  .then(() => transport.close(), error => { console.error(error); process.exit(1); });
"""

    def test_pooled_connections(self):
        node = self.need("node", "/usr/bin/nodejs")
        if not os.path.isdir(os.path.join(mxtest.NODE_DIR, "node_modules", "nodemailer")):
            self.skipTest("nodemailer is not installed (./run.sh test installs it)")
        messages = [sample_message(400 * (i + 1), f"node{i}") for i in range(8)]
        files = [self.message_file(m, name=f"{i}.eml") for i, m in enumerate(messages)]
        script = os.path.join(self.directory, "send.js")
        with open(script, "w") as out:
            out.write(self.SCRIPT)
        environment = dict(os.environ, NODE_PATH=os.path.join(mxtest.NODE_DIR, "node_modules"))
        self.run_client([node, script, str(self.port), *files], env=environment)
        self.assert_logged(messages)


class PostfixRelay(DeliveryCase):
    """Postfix takes the mail and relays it to us."""

    def test_relays_to_us(self):
        postfix = Postfix(self, self.port)
        messages = [sample_message(700 * (i + 1), f"relayed{i}") for i in range(12)]
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=30) as client:
            for message in messages:
                client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], message)
        try:
            mxtest.wait_until(lambda: len(self.log.records()) >= len(messages), 60, "all relayed")
        except AssertionError:
            print(postfix.maillog(), file=sys.stderr)
            raise
        self.assert_logged(recipients=("b@mx.test", "c@mx.test"))
        # A relay puts one Received field on top and changes nothing else.
        received = re.compile(rb"Received: from .*?\r\n(?:[ \t].*?\r\n)*", re.S)
        relayed = self.recorder.messages
        self.assertTrue(all(received.match(text) for text in relayed))
        self.assertEqual(sorted(received.sub(b"", text, count=1) for text in relayed),
                         sorted(messages))
        log = postfix.maillog()
        self.assertEqual(len(re.findall(r"status=sent \(250 2\.0\.0 Ok \d+\)", log)),
                         2 * len(messages), log)


if __name__ == "__main__":
    mxtest.main()
