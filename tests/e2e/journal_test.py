"""The journal of a running server: every refusal on the wire has its line, and the line says why."""

import json
import os
import re
import signal
import socket

import mxtest
from mxtest import Wire, sample_message

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "server",
                      "journal.schema.json")


def check(value, schema, where="line"):
    """What of JSON Schema the journal's uses; a failure says where."""
    def is_a(kind):
        kinds = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None)}
        return isinstance(value, kinds[kind]) and not isinstance(value, bool)

    if "type" in schema:
        named = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert any(map(is_a, named)), f"{where}: {value!r} is none of {named}"
    if "enum" in schema:
        assert value in schema["enum"], f"{where}: {value!r}"
    if "pattern" in schema and isinstance(value, str):
        assert re.search(schema["pattern"], value), f"{where}: {value!r}"
    if "minimum" in schema and value is not None:
        assert value >= schema["minimum"], f"{where}: {value!r}"
    if isinstance(value, dict):
        for key in schema.get("required", []):
            assert key in value, f"{where}: no {key}"
        for key, inner in value.items():
            known = schema.get("properties", {}).get(key)
            assert known or schema.get("additionalProperties", True), f"{where}: {key} is unknown"
            if known:
                check(inner, known, f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for inner in value:
            check(inner, schema["items"], f"{where}[]")


class JournalCase(mxtest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(SCHEMA) as text:
            cls.schema = json.load(text)

    def start(self, journal=None, **sections):
        self.path = os.path.join(self.directory, "journal")
        config = {"journal": {"to": self.path, **(journal or {})},
                  "recipients": {"domains": ["mx.test"]}, **sections}
        return self.serve(config)

    def lines(self, path=None):
        with open(path or self.path) as text:
            found = [json.loads(line) for line in text]
        for line in found:
            check(line, self.schema)
        return found

    @staticmethod
    def is_of_client(line):
        """Not a notice, nor of a connection that the end of the server found still open."""
        return (line["event"] not in ("notice", "removed") and
                "421 4.3.2" not in (line["reply"] or ""))

    def of_clients(self):
        return list(filter(self.is_of_client, self.lines()))


class Lines(JournalCase):
    def test_every_refusal_on_the_wire_has_its_line(self):
        server = self.start()
        said = []
        dialogue = ["NOOP x", "MAIL FROM:<a@b.test>", "EHLO client.test", "RCPT TO:<b@mx.test>",
                    "MAIL FROM:a b", "MAIL FROM:<a@b.test> SIZE=999999999", "BOGUS",
                    "MAIL FROM:<a@b.test>", "MAIL FROM:<a@b.test>", "RCPT TO:<x@other.test>",
                    "RCPT TO:<>", "DATA", "RCPT TO:<b@mx.test>", "VRFY", "DATA"]
        with Wire(server.address) as wire:
            for command in dialogue:
                said.append(wire.ask(command))
            self.assertRegex(said[-1], "^354")
            wire.send(b"From: a@b.test\r\n\r\nbare\nline\r\n.\r\n")
            said.append(wire.reply())
            self.assertRegex(said[-1], r"^550 5\.5\.2")
            # The same, pipelined.
            wire.send("".join(f"{c}\r\n" for c in ["BOGUS", "RCPT TO:<a@b>", "BOGUS", "QUIT"]))
            said += [wire.reply() for _ in range(4)]
        self.assertEqual(server.stop(), 0)
        refusals = [reply for reply in said if reply[0] in "45"]
        self.assertGreater(len(refusals), 10)
        lines = self.of_clients()
        self.assertEqual([line["reply"] for line in lines], refusals)
        self.assertEqual(len({line["session"] for line in lines}), 1)
        for line in lines:
            self.assertEqual(line["client"]["ip"], "127.0.0.1")
            self.assertEqual(line["event"], "refused" if line["reply"][0] == "5" else "deferred")
        stranger = next(line for line in lines if "this domain" in line["reply"])
        self.assertEqual((stranger["stage"], stranger["mail_from"], stranger["rcpt_to"]),
                         ("rcpt", "a@b.test", ["x@other.test"]))
        content = next(line for line in lines if line["stage"] == "message")
        self.assertEqual(content["rcpt_to"], ["b@mx.test"])
        self.assertGreater(content["size"], 10)

    def test_connections_that_are_cut_off_or_turned_away(self):
        server = self.start(limits={"command_wait": "3s", "tls_handshake": "1s", "connections": 2,
                                    "connections_per_ip": 2},
                            listen={"smtp": ["127.0.0.1:0"], "smtps": ["127.0.0.1:0"]})
        with Wire(server.address) as wire:
            wire.hello()
            self.assertRegex(wire.reply(), r"^421 4\.4\.2")
        host, port = server.ready["smtps"].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as silent:
            silent.settimeout(10)
            self.assertEqual(silent.recv(1), b"")
        with socket.create_connection((host, int(port))) as no_tls:
            no_tls.sendall(b"EHLO there\r\n" * 10)
            no_tls.settimeout(10)
            no_tls.recv(100)
        mxtest.wait_until(lambda: len(self.of_clients()) >= 3, 10, "three are cut off")
        with Wire(server.address), Wire(server.address):
            with Wire(server.address) as third:
                self.assertRegex(third.banner, r"^421 4\.7\.0")
        self.assertEqual(server.stop(), 0)
        lines = self.of_clients()
        self.assertEqual(
            sorted((line["event"], line["stage"], line.get("text") or line["reply"])
                   for line in lines),
            sorted([("cut_off", "hello", "421 4.4.2 Timed out waiting for a command"),
                    ("cut_off", "starttls", "the TLS handshake took too long"),
                    ("cut_off", "starttls", "the TLS handshake failed"),
                    ("deferred", "connect", "421 4.7.0 Too many connections, try again later")]))

    def test_accepted_and_what_a_name_may_contain(self):
        server = self.start({"accepted": True})
        with Wire(server.address) as wire:
            wire.ask("EHLO client.test")
            self.assertEqual(wire.message(sample_message()), "250 2.0.0 Ok 0")
            wire.send(b'MAIL FROM:<"\xe2\x80\xae<script>\\"\x7f"@b.test>\r\n')
            wire.reply()
        self.assertEqual(server.stop(), 0)
        lines = self.of_clients()
        self.assertEqual(lines[0]["event"], "accepted")
        self.assertEqual(lines[0]["reply"], "250 2.0.0 Ok 0")
        self.assertEqual(lines[0]["mail_from"], "a@client.test")
        with open(self.path, "rb") as text:
            self.assertNotRegex(text.read(), rb"[\x00-\x09\x0b-\x1f\x7f]|\xe2\x80\xae")

    def test_a_flood_is_folded_and_every_refusal_counted(self):
        server = self.start({"rate": 20})
        count = 8  # fewer than those after which replies are slowed
        clients = 20
        for _ in range(clients):
            with Wire(server.address) as wire:
                wire.hello()
                wire.send("RCPT TO:<b@mx.test>\r\n" * count + "QUIT\r\n")
                for _ in range(count + 1):
                    wire.reply()
        self.assertEqual(server.stop(), 0)
        lines = [line for line in self.of_clients() if "MAIL first" in line["reply"]]
        self.assertEqual(sum(line["repeated"] for line in lines), count * clients)
        self.assertLess(len(lines), count * clients)
        self.assertGreater(max(line["repeated"] for line in lines), 1)


class Places(JournalCase):
    def refuse(self, server):
        with Wire(server.address) as wire:
            wire.ask("BOGUS")

    def test_standard_error_by_default(self):
        server = self.serve()
        self.refuse(server)
        mxtest.wait_until(lambda: "Command not recognised" in server.stderr(), 10, "the line")
        server.process.send_signal(signal.SIGHUP)
        self.assertEqual(server.stop(), 0)
        lines = [json.loads(line) for line in server.stderr().splitlines()
                 if not line.startswith("mxring: ")]
        for line in lines:
            check(line, self.schema)
        self.assertEqual([line["event"] for line in lines if self.is_of_client(line)],
                         ["refused"])
        self.assertTrue(any("draining" in line.get("text", "") for line in lines))

    def test_off(self):
        server = self.serve({"journal": {"to": ""}})
        self.refuse(server)
        self.assertEqual(server.stop(), 0)
        self.assertNotIn('{"', server.stderr())
        self.assertIn("mxring: draining", server.stderr())

    def test_logfmt(self):
        server = self.start({"format": "logfmt"})
        self.refuse(server)
        self.assertEqual(server.stop(), 0)
        with open(self.path) as text:
            line = next(line for line in text if 'event="refused"' in line)
        self.assertRegex(line, r'^time="[^"]+" event="refused" session="[0-9a-f]+-[0-9a-f]+" '
                               r'client\.ip="127\.0\.0\.1" client\.port=\d+ stage="\w+" '
                               r'reply="500 5\.5\.1 Command not recognised" repeated=1\n$')

    def test_a_file_moved_away_is_made_anew_on_sighup(self):
        server = self.start()
        self.refuse(server)
        mxtest.wait_until(self.of_clients, 10, "the first line")
        os.rename(self.path, self.path + ".1")
        server.process.send_signal(signal.SIGHUP)
        mxtest.wait_until(lambda: os.path.exists(self.path), 10, "the new file")
        self.refuse(server)
        mxtest.wait_until(self.of_clients, 10, "the second line")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(len(self.of_clients()), 1)
        self.assertIn("mxring: draining", server.stderr())

    def test_urgency_only_for_the_systems_journal(self):
        for matches in (True, False):
            with self.subTest(matches=matches):
                path = os.path.join(self.directory, f"stderr-{matches}")
                with open(path, "wb") as target:
                    of = os.fstat(target.fileno())
                    inode = of.st_ino if matches else of.st_ino + 1
                    server = self.serve(
                        env={**os.environ, "JOURNAL_STREAM": f"{of.st_dev}:{inode}"},
                        stderr=target.fileno(), log_dir=f"{self.directory}/log-{matches}")
                self.refuse(server)
                self.assertEqual(server.stop(), 0)
                with open(path) as text:
                    lines = text.read().splitlines()
                self.assertTrue(lines)
                self.assertTrue(any("Command not recognised" in line for line in lines))
                for line in lines:
                    self.assertEqual(bool(re.match(r"<[2-7]>", line)), matches, line)

    def test_a_place_that_cannot_be(self):
        with self.assertRaisesRegex(AssertionError, "journal.to = /nowhere/at/all: cannot be "):
            self.serve({"journal": {"to": "/nowhere/at/all"}})


if __name__ == "__main__":
    mxtest.main()
