"""Who may send what to whom: recipient files, access rules, rates, and clients that guess."""

import json
import os
import socket
import subprocess
import time

import mxtest


class PolicyCase(mxtest.TestCase):
    def file(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def server(self, **config):
        server = mxtest.Server(self.directory, config=config)
        self.servers.append(server)
        return server

    def replies_to(self, server, recipients, sender="a@client.test"):
        with mxtest.Wire(server.address) as wire:
            wire.hello()
            self.assertTrue(wire.ask(f"MAIL FROM:<{sender}>").startswith("250"))
            return [wire.ask(f"RCPT TO:<{recipient}>")[:9] for recipient in recipients]

    def refused_start(self, config):
        done = subprocess.run(
            mxtest.Server(self.directory, config=config, start=False).command(),
            capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 78, done.stderr)
        return done.stderr


class Recipients(PolicyCase):
    def test_each_recipient_needs_a_line(self):
        path = self.file("recipients", "joe@mx.test\n@all.test\n@.below.test # and so on\n")
        server = self.server(recipients={"file": path, "domains": ["mx.test", "other.test"]})
        self.assertEqual(
            self.replies_to(server, ["joe@mx.test", "JOE+x@MX.test", "jane@mx.test", "x@all.test",
                                     "x@a.below.test", "x@other.test", "x@else.test", "postmaster",
                                     "postmaster@other.test"]),
            ["250 2.1.5", "250 2.1.5", "550 5.1.1", "250 2.1.5", "250 2.1.5", "550 5.1.1",
             "550 5.7.1", "250 2.1.5", "250 2.1.5"])
        self.assertEqual(server.stop(), 0)

    def test_good_recipients_are_not_touched_by_bad_ones(self):
        path = self.file("recipients", "joe@mx.test\n")
        server = self.server(recipients={"file": path})
        with mxtest.Wire(server.address) as wire:
            wire.hello()
            wire.ask("MAIL FROM:<a@client.test>")
            for i in range(9):
                self.assertTrue(wire.ask(f"RCPT TO:<no{i}@mx.test>").startswith("550 5.1.1"))
            self.assertTrue(wire.ask("RCPT TO:<joe@mx.test>").startswith("250"))
            self.assertTrue(wire.ask("DATA").startswith("354"))
            wire.send(b"From: a@client.test\r\n\r\nx\r\n.\r\n")
            self.assertTrue(wire.reply().startswith("250"))
        self.assertEqual(server.stop(), 0)
        self.assertEqual(mxtest.Log(server.log_dir).records()[0]["rcpt_to"], ["joe@mx.test"])

    def test_who_only_guesses_is_slowed_and_sent_away(self):
        path = self.file("recipients", "joe@mx.test\n")
        server = self.server(recipients={"file": path},
                             limits={"errors_soft": 3, "errors_hard": 5, "error_delay": "300ms"})
        with mxtest.Wire(server.address) as wire:
            wire.hello()
            wire.ask("MAIL FROM:<a@client.test>")
            begun = time.monotonic()
            answers = [wire.ask(f"RCPT TO:<no{i}@mx.test>") for i in range(5)]
            self.assertTrue(all(answer.startswith("550 5.1.1") for answer in answers), answers)
            self.assertTrue(wire.reply().startswith("421 4.7.0"))
            self.assertTrue(wire.at_end())
            self.assertGreater(time.monotonic() - begun, 0.5)
        self.assertEqual(server.stop(), 0)

    def test_a_mistake_is_named_with_its_line(self):
        path = self.file("recipients", "joe@mx.test\nno address\n")
        said = self.refused_start({"recipients": {"file": path}})
        self.assertIn(f"recipients.file: {path}:2: \"no address\" is no address", said)
        said = self.refused_start({"recipients": {"file": path + ".missing"}})
        self.assertIn("No such file", said)


class Access(PolicyCase):
    RULES = """\
allow    sender friend@bad.test
deny     sender @bad.test           We know you
tempfail helo @.dynamic.test
deny     recipient trap@mx.test
deny     client 127.0.0.2
"""

    def test_the_first_rule_that_matches_decides(self):
        server = self.server(access={"file": self.file("access", self.RULES)})
        for sender, recipient, reply in [
                ("friend@bad.test", "b@mx.test", "250 2.1.5"),
                ("else@bad.test", "b@mx.test", "554 5.7.1"),
                ("a@good.test", "trap@mx.test", "554 5.7.1"),
                ("a@good.test", "b@mx.test", "250 2.1.5")]:
            self.assertEqual(self.replies_to(server, [recipient], sender), [reply], sender)
        with mxtest.Wire(server.address) as wire:
            wire.ask("EHLO 1-2.dynamic.test")
            wire.ask("MAIL FROM:<a@good.test>")
            self.assertTrue(wire.ask("RCPT TO:<b@mx.test>").startswith("450 4.7.1"))
        with mxtest.Wire(server.address) as wire:
            wire.hello()
            wire.ask("MAIL FROM:<x@bad.test>")
            self.assertEqual(wire.ask("RCPT TO:<b@mx.test>"), "554 5.7.1 We know you")
        self.assertEqual(server.stop(), 0)

    def test_a_mistake_is_named_with_its_line(self):
        path = self.file("access", "deny client 192.0.2.1/24\n")
        self.assertIn(f"access.file: {path}:1: ", self.refused_start({"access": {"file": path}}))

    def test_policy_check_says_which_line_decides(self):
        config = self.file("mxring.toml", mxtest.toml({
            "access": {"file": self.file("access", self.RULES)},
            "recipients": {"file": self.file("recipients", "# ours\njoe@mx.test\n")}}))

        def check(client, sender, recipient, helo="h.test"):
            done = subprocess.run(
                [mxtest.BINARY, "policy", "check", "-c", config, "--client", client, "--helo", helo,
                 "--sender", sender, "--recipient", recipient, "--json"],
                capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            found = json.loads(done.stdout)
            rule = found["rule"]
            return (found["decision"], found["reply"][:9],
                    rule and (os.path.basename(rule["file"]), rule["line"]))

        self.assertEqual(check("192.0.2.1", "a@bad.test", "joe@mx.test"),
                         ("refuse", "554 5.7.1", ("access", 2)))
        self.assertEqual(check("127.0.0.2", "<>", "joe@mx.test"),
                         ("refuse", "554 5.7.1", ("access", 5)))
        self.assertEqual(check("192.0.2.1", "a@good.test", "joe@mx.test", "x.dynamic.test"),
                         ("tempfail", "450 4.7.1", ("access", 3)))
        self.assertEqual(check("192.0.2.1", "a@good.test", "Joe+tag@mx.test"),
                         ("accept", "250 2.1.5", ("recipients", 2)))
        self.assertEqual(check("192.0.2.1", "a@good.test", "jane@mx.test"),
                         ("refuse", "550 5.1.1", None))
        done = subprocess.run([mxtest.BINARY, "policy", "check", "-c", config, "--client", "x",
                               "--recipient", "a@b"], capture_output=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 2)


class BlockLists(PolicyCase):
    """Clients are named by PROXY headers: loopback is on nobody's list."""

    ZONES = {
        "bl.test": "7.2.0.192 A 127.0.0.2\n8.2.0.192 A 127.0.0.11\n2.0.0.127 A 127.0.0.2\n"
                   "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2 A 127.0.0.4\n",
        "world.test": "* A 127.0.0.2\n",
        "blocked.test": "* A 127.255.255.254\n",
        "sold.test": "* A 203.0.113.5\n",
        "sunk.test": "* A 127.0.0.1\n",
    }
    USELESS = ["world.test", "blocked.test", "sold.test", "sunk.test", "gone.test"]

    def lists(self, lists, **sections):
        dns = self.serve_dns(self.ZONES)
        self.journal = os.path.join(self.directory, "journal")
        return self.server(access={"dnsbl": lists, **sections.pop("access", {})},
                           dns={"servers": [dns.address]}, listen={"proxy": ["127.0.0.1"]},
                           journal={"to": self.journal}, **sections)

    def replies(self, server, client, *recipients):
        family = "TCP6" if ":" in client else "TCP4"
        with mxtest.Wire(server.address, greet=False) as wire:
            wire.send(f"PROXY {family} {client} {client} 4000 25\r\n")
            self.assertRegex(wire.reply(), "^220")
            wire.hello()
            # In one group: what waits for the lists comes to its turn all the same.
            wire.send("MAIL FROM:<a@client.test>\r\n" +
                      "".join(f"RCPT TO:<{r}>\r\n" for r in recipients) + "NOOP\r\n")
            self.assertRegex(wire.reply(), "^250 2.1.0")
            answers = [wire.reply() for _ in recipients]
            self.assertEqual(wire.reply(), "250 2.0.0 Ok")
            return answers

    def test_who_is_listed_is_refused_at_rcpt(self):
        rules = self.file("access", "allow recipient open@mx.test\n")
        server = self.lists(["bl.test"], access={"file": rules})
        listed = "554 5.7.1 Access denied: 192.0.2.7 is listed by bl.test"
        self.assertEqual(self.replies(server, "192.0.2.7", "b@mx.test", "postmaster",
                                      "Postmaster@mx.test", "open@mx.test", "c@mx.test"),
                         [listed, "250 2.1.5 Ok", "250 2.1.5 Ok", "250 2.1.5 Ok", listed])
        self.assertRegex(self.replies(server, "2001:db8::7", "b@mx.test")[0],
                         "^554 5.7.1 .* 2001:db8::7 is listed by bl.test$")
        for clean in ("192.0.2.9", "2001:db8::9"):
            self.assertEqual(self.replies(server, clean, "b@mx.test"), ["250 2.1.5 Ok"])
        with open(self.journal, encoding="utf-8") as lines:
            line = next(line for line in map(json.loads, lines) if line["client"])
        self.assertEqual((line["stage"], line["rcpt_to"], line["client"]["via"], line["reply"]),
                         ("rcpt", ["b@mx.test"], "127.0.0.1", listed))
        self.assertEqual(server.stop(), 0)

    def test_only_the_answers_that_count(self):
        server = self.lists(["bl.test=127.0.0.2/31"])
        self.assertRegex(self.replies(server, "192.0.2.7", "b@mx.test")[0], "^554 5.7.1")
        self.assertRegex(self.replies(server, "192.0.2.8", "b@mx.test")[0], "^250")
        self.assertEqual(server.stop(), 0)

    def test_a_list_of_no_use_costs_no_message_and_is_said_once(self):
        server = self.lists(self.USELESS + ["bl.test"])
        for client in ("192.0.2.9", "192.0.2.10", "2001:db8::9", "192.0.2.9"):
            self.assertEqual(self.replies(server, client, "b@mx.test"), ["250 2.1.5 Ok"], client)
        self.assertRegex(self.replies(server, "192.0.2.7", "b@mx.test")[0], "by bl.test$",
                         "the one that is of use goes on")
        self.assertEqual(server.stop(), 0)
        with open(self.journal, encoding="utf-8") as lines:
            notices = [line["text"] for line in map(json.loads, lines) if "text" in line]
        for zone in self.USELESS:
            said = [n for n in notices if f"block list {zone} gives no answer of use" in n]
            self.assertEqual(len(said), 1, notices)
        self.assertFalse([n for n in notices if "bl.test" in n])

    def test_no_answer_is_waited_for_no_longer_than_the_resolver_is(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            server = self.server(
                access={"dnsbl": ["bl.test"]}, listen={"proxy": ["127.0.0.1"]},
                dns={"servers": ["127.0.0.1:%d" % silent.getsockname()[1]], "timeout": "2s"})
            begun = time.monotonic()
            self.assertEqual(self.replies(server, "192.0.2.7", "b@mx.test", "c@mx.test"),
                             ["250 2.1.5 Ok"] * 2)
            self.assertLess(time.monotonic() - begun, 5)
            self.assertEqual(server.stop(), 0)

    def test_policy_check_knows_the_lists(self):
        dns = self.serve_dns(self.ZONES)
        config = self.file("mxring.toml", mxtest.toml({
            "listen": {"proxy": ["192.0.2.0/24"], "xclient": ["198.51.100.1"]},
            "dns": {"servers": [dns.address]},
            "access": {"dnsbl": ["world.test", "bl.test"]}}))
        with open(config, encoding="utf-8") as lines:
            line = 1 + [text.startswith("dnsbl") for text in lines].index(True)

        def check(client, recipient, *more):
            done = subprocess.run(
                [mxtest.BINARY, "policy", "check", "-c", config, "--client", client, "--recipient",
                 recipient, "--json", *more], capture_output=True, text=True, timeout=30,
                check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)

        found = check("192.0.2.7", "b@mx.test", "--via", "192.0.2.1")
        self.assertEqual(found["decision"], "refuse")
        self.assertEqual(found["reply"],
                         "554 5.7.1 Access denied: 192.0.2.7 is listed by bl.test")
        self.assertEqual(found["rule"], {"file": config, "line": line})
        self.assertEqual(found["lists"], [{"zone": "world.test", "answer": "no_use"},
                                          {"zone": "bl.test", "answer": "listed"}])
        self.assertEqual(found["via"], {"ip": "192.0.2.1", "proxy": True, "xclient": False})
        found = check("192.0.2.9", "b@mx.test")
        self.assertEqual((found["decision"], found["rule"], found["via"]), ("accept", None, None))
        self.assertEqual(check("192.0.2.7", "postmaster@mx.test")["lists"], [])

    def test_a_mistake_is_named(self):
        for entry, said in (("bl..test", "is no zone's name"),
                            ("bl.test=10.0.0.0/8", "is no network in 127.0.0.0/8")):
            self.assertIn(said, self.refused_start({"access": {"dnsbl": [entry]}}))


class Reload(PolicyCase):
    def reload(self, server):
        return subprocess.run(
            [mxtest.BINARY, "ctl", "reload", "--socket", os.path.join(server.log_dir, "control")],
            capture_output=True, text=True, timeout=30, check=False)

    def test_files_are_read_again_and_a_broken_one_changes_nothing(self):
        recipients = self.file("recipients", "joe@mx.test\n")
        access = self.file("access", "deny sender @bad.test\n")
        server = self.server(recipients={"file": recipients}, access={"file": access})
        self.assertEqual(self.replies_to(server, ["joe@mx.test", "jane@mx.test"]),
                         ["250 2.1.5", "550 5.1.1"])
        self.file("recipients", "jane@mx.test\n")
        self.file("access", "deny sender @worse.test\n")
        done = self.reload(server)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.replies_to(server, ["joe@mx.test", "jane@mx.test"]),
                         ["550 5.1.1", "250 2.1.5"])
        self.assertEqual(self.replies_to(server, ["jane@mx.test"], "a@bad.test"), ["250 2.1.5"])
        self.assertEqual(self.replies_to(server, ["jane@mx.test"], "a@worse.test"), ["554 5.7.1"])
        for name, broken, place in [("recipients", "jane@mx.test\n@\n", "recipients:2:"),
                                    ("access", "permit all\n", "access:1:")]:
            self.file(name, broken)
            done = self.reload(server)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(place, done.stdout + done.stderr)
            self.assertEqual(self.replies_to(server, ["joe@mx.test", "jane@mx.test"]),
                             ["550 5.1.1", "250 2.1.5"])
            self.file(name, {"recipients": "jane@mx.test\n", "access": "# none\n"}[name])
        self.assertEqual(server.stop(), 0)


class Rates(PolicyCase):
    def test_messages_and_recipients_of_a_minute(self):
        server = self.server(limits={"messages_per_minute": 3, "recipients_per_minute": 5})
        with mxtest.Wire(server.address) as wire:
            wire.hello()
            for _ in range(3):
                self.assertTrue(wire.message(b"From: a@b.test\r\n\r\nx\r\n").startswith("250"))
            self.assertTrue(wire.ask("MAIL FROM:<a@client.test>").startswith("450 4.7.0"))
        self.assertEqual(server.stop(), 0)
        server = self.server(limits={"recipients_per_minute": 2})
        self.assertEqual(self.replies_to(server, ["a@mx.test"] * 3),
                         ["250 2.1.5", "250 2.1.5", "450 4.7.0"])
        self.assertEqual(server.stop(), 0)

    def test_connections_of_a_minute(self):
        server = self.server(limits={"connections_per_minute": 2})
        for _ in range(2):
            with mxtest.Wire(server.address) as wire:
                self.assertTrue(wire.banner.startswith("220"))
        with mxtest.Wire(server.address) as wire:
            self.assertTrue(wire.banner.startswith("421 4.7.0"))
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    mxtest.main()
