#!/usr/bin/env python3
"""Watching the running server: `mxring top`, `mxring trace`, the page, and the scrub."""

import glob
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request

import browser
import mxtest
from mxtest import BINARY, Wire, sample_message

SHOTS = os.environ.get("MXRING_SCREENSHOTS", "")  # where pictures for people go


class ObserveCase(mxtest.TestCase):
    def start(self, config=None, **more):
        config = {section: dict(keys) for section, keys in (config or {}).items()}
        config.setdefault("listen", {}).setdefault("smtp", ["127.0.0.1:0"])
        config["listen"].setdefault("admin", "127.0.0.1:0")
        self.server = self.serve(config, **more)
        self.socket = os.path.join(self.server.log_dir, "control")
        return self.server

    def run_mxring(self, *args, code=0):
        done = subprocess.run([BINARY, *args], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60)
        self.assertEqual(done.returncode, code, f"{args}: {done.stdout}{done.stderr}")
        return done

    def live(self):
        return json.loads(self.server.http("/live"))

    def send(self, subject="hello", count=1, **more):
        with Wire(self.server.address) as wire:
            wire.hello()
            for _ in range(count):
                self.assertRegex(wire.message(sample_message(marker=subject), **more), "^250")

    def ask(self, path, **fields):
        """Status and text."""
        request = urllib.request.Request(f"http://{self.server.ready['admin']}{path}",
                                         headers=fields)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


class Top(ObserveCase):
    def test_once_says_what_happens(self):
        self.start({"recipients": {"domains": ["mx.test"]}})
        with Wire(self.server.address) as idle:
            idle.hello()
            idle.ask("MAIL FROM:<a@client.test>")
            self.send(count=20)
            with Wire(self.server.address) as wire:
                wire.hello()
                wire.ask("MAIL FROM:<a@client.test>")
                for _ in range(3):
                    self.assertRegex(wire.ask("RCPT TO:<b@other.test>"), "^550 5.7.1")
            mxtest.wait_until(lambda: self.live()["activities"]["envelope"] == 1, 10, "an envelope")
            text = self.run_mxring("top", "--once", "--socket", self.socket).stdout
            live = json.loads(self.run_mxring("top", "--once", "--json", "--admin",
                                              self.server.ready["admin"]).stdout)
        self.assertLessEqual(max(map(len, text.splitlines())), 80)
        for word in (r"envelope 1\b", r"550 5\.7\.1: \d\S*/s \(3\)", "shard-0", r"log +next 20"):
            self.assertRegex(text, word)
        self.assertEqual(live["totals"]["messages"], 20)
        self.assertEqual(live["refusals"],
                         [{"reply": "550 5.7.1", "total": 3,
                           "per_second": live["refusals"][0]["per_second"]}])
        self.assertEqual(sum(shard["connections"] for shard in live["shards"]), 1)
        mxtest.wait_until(lambda: self.live()["latency"]["count"] == 0, 15, "the window moves on")

    def test_every_key_is_documented(self):
        self.start()
        with open(os.path.join(mxtest.SOURCE, "src/cli/JSON.md")) as text:
            section = text.read().split("## `top`")[1].split("\n## ")[0]
        documented = set(re.findall(r"[a-z_0-9]+", " ".join(re.findall(r"`([^`]+)`", section))))

        def keys(value):
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield key
                    yield from keys(inner)
            elif isinstance(value, list):
                for inner in value:
                    yield from keys(inner)

        used = set(keys(self.live())) | set(keys(json.loads(self.server.http("/history"))))
        self.assertEqual(used - documented, set())

    def test_nobody_answers(self):
        done = self.run_mxring("top", "--socket", "/nowhere/control", code=1)
        self.assertIn("no receiver runs with it", done.stderr)

    def screen(self, end):
        """Runs top on a terminal, ends it with `end`; what it wrote, and the terminal's state."""
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        process = subprocess.Popen([BINARY, "top", "--socket", self.socket, "--every", "0.2"],
                                   stdin=slave, stdout=slave, stderr=slave)
        written = b""
        deadline = time.monotonic() + 20
        while b"shard-0" not in written and time.monotonic() < deadline:
            if select.select([master], [], [], 0.2)[0]:
                written += os.read(master, 65536)
        self.assertIn(b"\x1b[?1049h", written)
        self.assertNotEqual(termios.tcgetattr(slave)[3], before[3])
        end(process, master)
        code = process.wait(20)
        while select.select([master], [], [], 0.2)[0]:
            written += os.read(master, 65536)
        self.assertEqual(termios.tcgetattr(slave), before)
        self.assertGreater(written.rfind(b"\x1b[?1049l"), written.rfind(b"\x1b[?1049h"))
        self.assertGreater(written.rfind(b"\x1b[?25h"), written.rfind(b"\x1b[?25l"))
        os.close(master)
        os.close(slave)
        return code

    def test_the_terminal_is_given_back(self):
        self.start()
        self.assertEqual(self.screen(lambda process, master: os.write(master, b"q")), 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV):
            code = self.screen(lambda process, master: process.send_signal(number))
            self.assertEqual(code, -number)


class Trace(ObserveCase):
    def trace(self, *args):
        process = subprocess.Popen(
            [BINARY, "trace", "--socket", self.socket, "--json", *args], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(json.loads(process.stdout.readline()), {"event": "tracing"})
        return process

    def end(self, process):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, err), (0, ""))
        return [json.loads(line) for line in out.splitlines()]

    def test_a_whole_dialogue(self):
        self.start({"recipients": {"domains": ["mx.test"]}})
        tracer = self.trace("--one")
        with Wire(self.server.address) as wire:
            wire.hello()
            wire.ask("AUTH PLAIN AHNlY3JldABwYXNzd29yZA==")
            wire.message(sample_message(marker="not shown"))
            wire.ask("QUIT")
        out, _ = tracer.communicate(timeout=20)
        self.assertEqual(tracer.returncode, 0)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([line["event"] for line in lines[:2]], ["begin", "server"])
        self.assertEqual(lines[0]["client"]["ip"], "127.0.0.1")
        said = [line["line"] for line in lines if line["event"] == "client"]
        self.assertEqual(said, ["EHLO client.test", "AUTH (left out)", "MAIL FROM:<a@client.test>",
                                "RCPT TO:<b@mx.test>", "DATA", "QUIT"])
        self.assertEqual([line["event"] for line in lines[-4:]], ["server", "client", "server", "end"])
        message = next(line for line in lines if line["event"] == "message")
        self.assertEqual(message["bytes"], len(sample_message(marker="not shown")))
        self.assertEqual({line["session"] for line in lines}, {lines[0]["session"]})
        for left_out in ("not shown", "AHNl", "quick brown"):
            self.assertNotIn(left_out, out)

    def test_filters(self):
        self.start({"recipients": {"domains": ["mx.test"]}})
        tracers = {name: self.trace(*args) for name, args in {
            "recipient": ("--recipient", "WANTED@mx.test"), "client": ("--client", "192.0.2.0/24"),
            "null": ("--sender", "<>", "--recipient", "@mx.test"), "reply": ("--reply", "550 5.7"),
        }.items()}
        self.assertIn("4 others trace already", self.run_mxring(
            "trace", "--socket", self.socket, code=1).stderr)
        for sender, recipient in (("a@client.test", "wanted@mx.test"), ("", "b@mx.test"),
                                  ("c@client.test", "d@mx.test"), ("e@client.test", "f@other.test")):
            with Wire(self.server.address) as wire:
                wire.hello()
                wire.message(sample_message(), sender=sender, recipients=[recipient])
                wire.ask("QUIT")
        time.sleep(0.3)
        lines = {name: self.end(tracer) for name, tracer in tracers.items()}
        self.assertEqual(lines["client"], [])
        for name, first in (("recipient", "RCPT TO:<wanted@mx.test>"), ("null", "RCPT TO:<b@mx.test>"),
                            ("reply", "RCPT TO:<f@other.test>")):
            self.assertEqual(len({line["session"] for line in lines[name]}), 1, name)
            self.assertEqual(lines[name][0]["event"], "begin")
            self.assertEqual(lines[name][1]["line"], first)
            self.assertEqual(lines[name][-1]["event"], "end")
        self.assertEqual(lines["recipient"][0]["mail_from"], "a@client.test")

    def test_what_cannot_be_traced_by(self):
        for args, said in ((["--client", "nowhere"], "no IP address"),
                           (["--reply", "55x"], "no reply code")):
            self.assertIn(said, self.run_mxring("trace", *args, code=2).stderr)

    def test_hostile_text_is_escaped(self):
        self.start()
        for json_lines in (True, False):
            process = subprocess.Popen(
                [BINARY, "trace", "--socket", self.socket, *(["--json"] if json_lines else [])],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            self.addCleanup(process.stdout.close)
            process.stdout.readline()
            with Wire(self.server.address) as wire:
                wire.ask("EHLO client.test")
                wire.ask("VRFY \u202egnp.exe\u2066 \u009b31m")
                wire.send(b"NOOP \x1b[2J\xff\r\n")
                wire.reply()
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            text = process.stdout.read()
            self.assertEqual(process.wait(20), 0)
            self.assertIn(b"gnp.exe", text)
            text.decode()
            for bad in (b"\x1b", "\u202e".encode(), "\u2066".encode(), "\u009b".encode(), b"\xff"):
                self.assertNotIn(bad, text)

    def test_a_reader_that_stops_holds_up_nobody(self):
        self.start()
        link = socket.socket(socket.AF_UNIX)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mxtest.connect_unix(link, self.socket)
        link.sendall(b"GET /trace HTTP/1.0\r\n\r\n")
        self.assertIn(b" 200 ", link.recv(4096))
        began = time.monotonic()
        with Wire(self.server.address) as wire:
            wire.hello()
            for _ in range(60):
                wire.send("MAIL FROM:<a@client.test>\r\n" + "RCPT TO:<b@mx.test>\r\n" * 30 + "RSET\r\n")
                for _ in range(32):
                    wire.reply()
        self.assertLess(time.monotonic() - began, 20)
        text = b""
        link.settimeout(20)
        while b'"dropped"' not in text:
            text += link.recv(65536)
        link.close()
        # Its place is free again.
        mxtest.wait_until(lambda: self.end(self.trace("--one")) is not None, 20, "a place")

    def test_tls_handshakes(self):
        self.start({"listen": {"smtp": ["127.0.0.1:0"], "smtps": ["127.0.0.1:0"]}})
        import ssl
        tracer = self.trace()
        address = self.server.ready["smtps"].rsplit(":", 1)
        trusting = ssl._create_unverified_context()
        with socket.create_connection((address[0], int(address[1])), timeout=20) as plain:
            with trusting.wrap_socket(plain, server_hostname="mx.test") as link:
                link.recv(100)
        with socket.create_connection((address[0], int(address[1])), timeout=20) as plain:
            plain.sendall(b"EHLO not.tls\r\n")
            plain.recv(100)
        time.sleep(0.5)
        tls = [line for line in self.end(tracer) if line["event"] == "tls"]
        self.assertEqual([line["result"] for line in tls], ["encrypted", "failed"])
        self.assertEqual(tls[0]["tls"]["sni"], "mx.test")


class Page(ObserveCase):
    TOKEN = "correct horse battery staple"
    HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'

    def setUp(self):
        super().setUp()
        self.token_file = os.path.join(self.directory, "token")
        with open(self.token_file, "w") as out:
            out.write(self.TOKEN + "\n")
        self.port = mxtest.free_port()
        self.start({"listen": {"smtp": ["127.0.0.1:0"], "admin": f"127.0.0.1:{self.port}",
                               "admin_token_file": self.token_file}})

    def browse(self):
        program = mxtest.find_program("chromium")
        if not program:
            self.skipTest("chromium is not installed")
        made = browser.Browser(program)
        self.addCleanup(made.close)
        return made

    def test_what_is_open_and_what_is_not(self):
        self.send("secret subject")
        for path in ("/", "/style.css", "/script.js", "/live", "/history", "/metrics", "/status"):
            self.assertEqual(self.ask(path)[0], 200, path)
            self.assertNotIn("secret subject", self.ask(path)[1])
            self.assertEqual(self.ask(path, Host="evil.test")[0], 421, path)
            self.assertEqual(self.ask(path, Host="127.0.0.1.evil.test:80")[0], 421, path)
        for host in ("localhost", "LOCALHOST:1", "[::1]:9925", "192.0.2.1", "mx.test:9925"):
            self.assertEqual(self.ask("/live", Host=host)[0], 200, host)
        self.assertEqual(self.ask("/healthz", Host="balancer.test")[0], 200)
        for path in ("/search?recipient=b@mx.test", "/message?offset=0"):
            for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": self.TOKEN},
                          {"Authorization": "Bearer " + self.TOKEN + "x"}):
                self.assertEqual(self.ask(path, **given)[0], 401, given)
            status, text = self.ask(path, Authorization="Bearer " + self.TOKEN)
            self.assertEqual(status, 200)
            self.assertIn("secret subject", text)
            json.loads(text)
        # A new token counts at once, none closes the door.
        with open(self.token_file, "w") as out:
            out.write("another\n")
        self.assertEqual(self.ask(path, Authorization="Bearer " + self.TOKEN)[0], 401)
        self.assertEqual(self.ask(path, Authorization="Bearer another")[0], 200)
        os.truncate(self.token_file, 0)
        self.assertEqual(self.ask(path, Authorization="Bearer ")[0], 403)

    def test_search_finds_what_log_find_finds(self):
        for i in range(3):
            self.send(f"number {i}", recipients=(f"r{i % 2}@mx.test",))
        found = subprocess.run([BINARY, "log", "find", self.server.log_dir, "--recipient",
                                "r0@mx.test", "--json"], capture_output=True, check=True, text=True)
        records = [json.loads(line) for line in found.stdout.splitlines()]
        token = {"Authorization": "Bearer " + self.TOKEN}
        told = json.loads(self.ask("/search?recipient=r0%40mx.test", **token)[1])
        self.assertEqual(told["records"], records[::-1])
        self.assertIs(told["complete"], True)
        for query in ("id=1", "id=" + records[0]["queue_id"], "id=" + records[1]["id"],
                      "sender=a@client.test", "recipient=@mx.test"):
            one = json.loads(self.ask("/search?" + query, **token)[1])["records"]
            self.assertTrue(one, query)
        story = json.loads(self.ask("/message?offset=2", **token)[1])
        self.assertEqual(story["record"], records[1])
        self.assertIn("to <r0@mx.test>", story["dialogue"])
        self.assertIn("so: accept", story["verdict"])
        self.assertEqual(story["facts"]["type"], "mail")
        self.assertIn("error", json.loads(self.ask("/message?offset=99", **token)[1]))

    def test_in_a_browser(self):
        self.send(self.HOSTILE)
        page = self.browse()
        page.size(1100, 900)
        page.open(f"http://127.0.0.1:{self.port}/")
        shown = "document.getElementById('state').textContent"
        mxtest.wait_until(lambda: "accepting mail" in page.evaluate(shown), 20, "the page is live")
        now = "document.getElementById('now').textContent"
        mxtest.wait_until(lambda: "next offset1" in page.evaluate(now), 20, "one message")
        self.send("more", count=4)
        mxtest.wait_until(lambda: "next offset5" in page.evaluate(now), 20, "it updates")
        if SHOTS:
            page.screenshot(os.path.join(SHOTS, "page.png"))
        self.search(page, "wrong token", "this wants the token")
        self.search(page, self.TOKEN, "5 found")
        # By keyboard: from the button to the last result, and Enter.
        page.evaluate("document.querySelector('#search button').focus()")
        for _ in range(5):
            page.press("Tab")
        self.assertIn(self.HOSTILE, page.evaluate("document.activeElement.textContent"))
        page.press("Enter")
        mxtest.wait_until(lambda: page.evaluate("!document.getElementById('story').hidden"), 20,
                          "the story")
        story = page.evaluate("document.getElementById('story').textContent")
        for part in (self.HOSTILE, "to <b@mx.test>", "so: accept", "answered 250 with offset 0"):
            self.assertIn(part, story)
        self.assertEqual(page.evaluate("document.querySelectorAll('img, #found script').length"), 0)
        self.assertEqual(page.evaluate("document.title"), "mxring mx.test")
        if SHOTS:
            page.evaluate("document.getElementById('search').scrollIntoView()")
            page.screenshot(os.path.join(SHOTS, "story.png"))
        # Nothing was refused by the policy but what the wrong token was answered.
        complaints = [one for one in page.complaints() if "401" not in json.dumps(one)]
        self.assertEqual(complaints, [])
        # A phone, light and dark: nothing is wider than the screen.
        page.size(360, 740)
        colours = set()
        for dark in (False, True):
            page.dark(dark)
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 360)
            colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        self.assertEqual(len(colours), 2)
        # The server goes and comes back.
        self.assertEqual(self.server.stop(), 0)
        mxtest.wait_until(lambda: "no answer since" in page.evaluate(shown), 40, "it is missed")
        self.server.start()
        mxtest.wait_until(lambda: "accepting mail" in page.evaluate(shown), 40, "it is back")

    def search(self, page, token, said):
        page.evaluate("""(() => { const form = document.getElementById('search');
            form.elements.recipient.value = 'b@mx.test';
            form.elements.token.value = %s; form.requestSubmit(); })()""" % json.dumps(token))
        mxtest.wait_until(lambda: said in page.evaluate(
            "document.getElementById('search-state').textContent"), 30, said)

    def test_a_thousand_groups(self):
        for i in range(1000):
            done = subprocess.run([BINARY, "groups", "create", self.server.log_dir, f"g{i}"],
                                  capture_output=True)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.send(count=2)
        self.assertEqual(len(mxtest.wait_until(
            lambda: [g for g in self.live()["groups"] if g["lag"] == 2][:1000], 20, "lag")), 1000)
        began = time.monotonic()
        for _ in range(5):
            self.ask("/metrics")
        self.assertLess((time.monotonic() - began) / 5, 0.5)
        page = self.browse()
        page.open(f"http://127.0.0.1:{self.port}/")
        mxtest.wait_until(lambda: page.evaluate(
            "document.getElementById('groups').rows.length") == 1000, 30, "a thousand rows")


class Scrub(ObserveCase):
    def metric(self, name):
        match = re.search(rf"(?m)^{name} (\S+)$", self.server.http("/metrics"))
        return float(match[1]) if match else None

    def test_damage_is_found_and_said_once(self):
        self.start({"log": {"segment_bytes": "32MiB", "scrub_rate": "64MiB"}})
        self.send("first", count=5)
        mxtest.wait_until(lambda: (self.metric("mxring_log_verified_bytes_total") or 0) > 0, 40,
                          "a look with records")
        self.assertEqual(self.metric("mxring_log_damaged_places"), 0)
        self.assertLess(self.metric("mxring_log_verified_seconds"), 30)
        segment = sorted(glob.glob(os.path.join(self.server.log_dir, "*.seg")))[0]
        with open(segment, "r+b") as log:
            at = log.read(1 << 20).index(b"quick brown")
            log.seek(at)
            log.write(b"QUICK")
        mxtest.wait_until(lambda: self.metric("mxring_log_damaged_places") == 1, 40, "it is found")
        self.assertEqual(self.metric("mxring_log_damaged_records"), 1)
        passes = self.metric("mxring_log_verify_passes_total")
        mxtest.wait_until(lambda: self.metric("mxring_log_verify_passes_total") > passes, 40, "again")
        self.assertEqual(self.server.stderr().count("checksum does not match"), 1)
        self.assertEqual(self.live()["log"]["damaged_places"], 1)

    def test_it_is_bounded_and_can_be_off(self):
        self.start({"log": {"segment_bytes": "32MiB", "scrub_rate": "1KiB"}})
        self.send(count=40)
        time.sleep(3)
        self.assertLess(self.metric("mxring_log_verified_bytes_total"), 16 << 10)
        began = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        self.assertLess(time.monotonic() - began, 10)
        self.server.config["log"]["scrub_rate"] = 0
        self.server.start()
        self.assertIsNone(self.metric("mxring_log_verified_seconds"))


if __name__ == "__main__":
    mxtest.main()
