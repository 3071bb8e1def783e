"""mxring-relay: its configuration, Maildir and webhooks."""

import base64
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import mxtest
from mxtest import BINARY, Log, sample_message, wait_until
from relay_program import KILLS, RELAY, Hook, Relay, RelayCase, check, offset_of, verify

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
OTHER = "whsec_" + base64.b64encode(b"abcdefghijklmnopqrstuvwx").decode()


class Configuration(mxtest.TestCase):
    GOOD = {"": {"group": "g", "log": "log"}, "maildir": {"path": "m"}}

    def refused(self, config, *words):
        code, _, said = check(self, config)
        self.assertEqual(code, 78, said)
        for word in words:
            self.assertIn(word, said)

    def test_mistakes_are_named_with_their_place(self):
        self.assertEqual(check(self, self.GOOD)[0], 0)
        self.refused('group = "g"\nlog = "l"\n[maildir]\npath = "m"\nptah = "x"\n',
                     "check.toml:5:1: unknown key maildir.ptah", "did you mean maildir.path?")
        self.refused('group = "g"\nlog = 5\n[maildir]\npath = "m"\n', ":2:7: log must be a text")
        self.refused('group = "g"\nlog = "l"\n', "exactly one of", "there is none")
        self.refused('group = "g"\nlog = "l"\n[maildir]\npath = "m"\n[lmtp]\naddress = "h:24"\n',
                     "exactly one of", "lmtp, maildir")
        self.refused('group = "a b"\nlog = "l"\n[maildir]\npath = "m"\n', ":1:9: group must be")
        self.refused('group = "g"\nlog = "l"\n[webhook]\nurl = "https://h/"\norder = "lanes"\n',
                     'did you mean "lane"?')
        self.refused('group = "g"\nlog = "l"\n[webhook]\nurl = "http://10.0.0.1/"\n',
                     "webhook.url names a private address")
        self.refused('group = "g"\nlog = "l"\n[retry]\nfirst = "1h"\n[maildir]\npath = "m"\n',
                     "retry.max must not be shorter")
        self.refused('group = "g"\nlog = "l"\n[maildir]\npath = \n', ":4:")

    def test_the_documented_defaults_are_a_configuration(self):
        text = subprocess.run([RELAY, "--help-config"], capture_output=True, text=True,
                              check=True).stdout
        text = text.replace('group = ""', 'group = "g"')
        for sink in ("webhook", "lmtp", "nats"):
            head, rest = text.split(f"[{sink}]\n")
            text = head + (rest[rest.index("\n[") + 1:] if "\n[" in rest else "")
        text = text.replace('path = ""', 'path = "m"')
        self.assertEqual(check(self, text)[0], 0, check(self, text))

    def test_usage_and_version(self):
        done = subprocess.run([RELAY, "--nonsense"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--help", done.stderr)
        done = subprocess.run([RELAY, "--version"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertIn("maildir, lmtp", done.stdout)
        done = subprocess.run([BINARY, "relay", "-c", "/nonexistent", "-t"], capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 78, done.stderr)


class Unit(mxtest.TestCase):
    def test_the_units_leave_little_open(self):
        analyze = self.need("systemd-analyze")
        for name in ("mxring-relay@.service", "mxring-log-serve.service"):
            unit = os.path.join(mxtest.SOURCE, "tuning", name)
            done = subprocess.run([analyze, "security", "--offline=true", "--no-pager", unit],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            score = re.search(r"Overall exposure level for mxring-\S*: ([0-9.]+)", done.stdout)
            self.assertLessEqual(float(score[1]), 1.5, done.stdout)

    def test_recipes_check(self):
        folder = os.path.join(mxtest.SOURCE, "tuning", "recipes")
        recipes = [name for name in os.listdir(folder) if name.endswith(".toml")]
        self.assertGreaterEqual(len(recipes), 4)
        for name in recipes:
            with open(os.path.join(folder, name)) as text:
                recipe = text.read()
            # Their secrets are not on this machine.
            for key in ("secret_file", "basic_auth_file", "credentials_file"):
                recipe = re.sub(rf"(?m)^{key}\s*=.*$", "", recipe)
            code, _, said = check(self, recipe)
            if "not built in" in said:
                continue
            self.assertEqual(code, 0, (name, said))


class Maildir(RelayCase):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.directory, "mail")

    def there(self):
        names = []
        for part in ("new", "cur"):
            folder = os.path.join(self.path, part)
            names += os.listdir(folder) if os.path.isdir(folder) else []
        return sorted(int(n.split("Q")[1].split(".")[0]) for n in names)

    def test_mail_arrives_as_delivered_and_once(self):
        self.send(20)
        relay = Relay(self, self.config(maildir={"path": self.path}))
        self.assertEqual(relay.ready, {"group": "g", "sink": "maildir", "from": "0"})
        self.committed(20)
        self.assertEqual(self.group()["state"], "running")
        self.send(5)
        self.committed(25)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.assertEqual(self.there(), list(range(25)))
        log = Log(self.server.log_dir)
        for name in os.listdir(os.path.join(self.path, "new")):
            with open(os.path.join(self.path, "new", name), "rb") as mail:
                text = mail.read()
            offset = int(name.split("Q")[1].split(".")[0])
            self.assertEqual(text, log.delivered(offset).replace(b"\r\n", b"\n"))
        self.assertEqual(os.listdir(os.path.join(self.path, "tmp")), [])
        # Read mail, moved and flagged, does not come again when the group goes over it again.
        for name in os.listdir(os.path.join(self.path, "new")):
            os.rename(os.path.join(self.path, "new", name),
                      os.path.join(self.path, "cur", name + ":2,S"))
        self.groups("reset", "--to-earliest", "--execute")
        relay.start()
        self.committed(25)
        self.assertEqual(relay.stop(), 0)
        self.assertEqual(self.there(), list(range(25)))

    def test_only_what_the_filter_wants(self):
        self.send(2, recipients=("b@mx.test",))
        self.send(2, recipients=("x@Tickets.mx.test", "b@mx.test"))
        relay = Relay(self, self.config(maildir={"path": self.path},
                                        filter={"recipients": ["*@tickets.mx.test"]}))
        self.committed(4)
        self.assertEqual(relay.stop(), 0)
        self.assertEqual(self.there(), [2, 3])

    def test_killed_at_every_step(self):
        self.send(30)
        count = os.path.join(self.directory, "steps")
        config = self.config(maildir={"path": self.path})
        relay = Relay(self, config, env={"MXRING_RELAY_FAULT": f"count:{count}"})
        self.committed(30)
        self.assertEqual(relay.stop(), 0)
        with open(count) as text:
            steps = int(text.read())
        self.assertGreater(steps, 30)
        chosen = range(1, steps) if KILLS >= 20 else random.Random(7).sample(range(1, steps), 12)
        for step in sorted(chosen):
            path = os.path.join(self.directory, f"mail{step}")
            self.path = path
            relay.configure(self.config(maildir={"path": path}))
            self.groups("reset", "--to-earliest", "--execute")
            relay.start(env={"MXRING_RELAY_FAULT": f"kill:{step}"}, wait=False)
            if step < steps - 4:
                self.assertEqual(relay.wait(), -signal.SIGKILL, f"step {step}: {relay.stderr()}")
            else:  # how often the place is written at the end differs by one or two
                time.sleep(1)
                relay.kill()
            before = self.there()
            self.assertEqual(before, list(range(len(before))), "in order, without holes")
            relay.start(env={"MXRING_RELAY_FAULT": ""})
            self.committed(30)
            self.assertEqual(relay.stop(), 0)
            self.assertEqual(self.there(), list(range(30)), f"killed at step {step}")
        print(f"maildir: killed at {len(list(chosen))} of {steps} steps, missing 0, repeated 0")

    def test_a_full_disk_is_waited_for(self):
        self.send(3)
        relay = Relay(self, self.config(maildir={"path": self.path}),
                      start=False)
        relay.start(env={"MXRING_RELAY_FAULT": "fail:2:28"})
        self.committed(3)
        self.assertIn("No space left", relay.stderr())
        self.assertEqual(relay.stop(), 0)
        self.assertEqual(self.there(), [0, 1, 2])


class BackPressure(RelayCase):
    CONFIG = {"log": {"segment_bytes": "2MiB", "retain_bytes": "2MiB"},
              "groups": {"hold_bytes": "4MiB"},
              "limits": {"message_size": "256KiB", "memory": "64MiB"},
              "listen": {"admin": "127.0.0.1:0"}}

    def test_a_sink_that_stands_still_fills_the_hold(self):
        stands = [True]
        hook = Hook(self, lambda request, number: 503 if stands[0] else 200)
        relay = Relay(self, self.config(webhook={"url": hook.url, "allow_private": True}))
        refused = None
        for _ in range(200):
            with mxtest.Wire(self.server.address) as wire:
                wire.hello()
                answer = wire.message(sample_message(100_000, f"m{self.sent}"))
            if not answer.startswith("250"):
                refused = answer
                break
            self.sent += 1
        self.assertIsNotNone(refused, "the hold was never full")
        self.assertTrue(refused.startswith("452 4.3.1"), refused)
        facts = self.group()
        self.assertEqual((facts["state"], facts["current"]), ("retrying", 0))
        self.assertGreater(facts["lag_bytes"], 1 << 20)
        self.assertIn("503", facts["error"])
        # Who holds how much: groups, journal, metrics, and what a health check is told.
        self.assertEqual(facts["held_bytes"], facts["lag_bytes"])
        self.assertRegex(self.server.stderr(), r"retention keeps [0-9.]+ MiB for group g, which "
                                               r"stands at offset 0")
        self.assertIn("452 4.3.1", self.server.stderr())
        metrics = self.server.http("/metrics")
        held = int(re.search(r'^mxring_group_held_bytes\{group="g"\} (\d+)$', metrics, re.M)[1])
        self.assertEqual(held, facts["held_bytes"])
        with self.assertRaises(urllib.error.HTTPError) as refusal:
            self.server.http("/readyz")
        self.assertIn("groups", refusal.exception.read().decode())
        refusal.exception.close()
        stands[0] = False
        self.committed(self.sent, 40)
        self.assertEqual(hook.delivered(), list(range(self.sent)))

        def again():
            with mxtest.Wire(self.server.address) as wire:
                wire.hello()
                return wire.message(sample_message(1000, "again")).startswith("250")

        wait_until(again, 20, "the receiver takes mail again")
        self.committed(self.sent + 1)
        self.assertEqual(relay.stop(), 0)


class Webhook(RelayCase):
    def hook_config(self, hook, top=None, retry=None, **more):
        secret = os.path.join(self.directory, "secret")
        with open(secret, "w") as out:
            out.write(SECRET + "\n" + OTHER + "\n")
        webhook = {"url": hook.url, "secret_file": secret, "allow_private": True, "timeout": "2s"}
        webhook.update(more)
        return self.config(webhook=webhook, top=top or {}, retry=retry or {})

    def test_events_are_signed_and_in_order(self):
        hook = Hook(self)
        self.send(30)
        relay = Relay(self, self.hook_config(hook))
        self.committed(30)
        self.assertEqual(hook.delivered(), list(range(30)))
        self.assertEqual(relay.stop(), 0, relay.stderr())
        log = Log(self.server.log_dir)
        records = log.records("--from", 0)
        for request, record in zip(hook.requests, records):
            self.assertTrue(verify(SECRET, request["headers"], request["body"]))
            self.assertTrue(verify(OTHER, request["headers"], request["body"]))
            self.assertFalse(verify("whsec_AAAA", request["headers"], request["body"]))
            self.assertLess(abs(int(request["headers"]["webhook-timestamp"]) - time.time()), 60)
            self.assertEqual(request["headers"]["webhook-id"], record["id"])
            event = json.loads(request["body"])
            self.assertEqual(event["type"], "mail.received")
            self.assertEqual(event["timestamp"], record["received_at"])
            for key, value in record.items():
                self.assertEqual(event["data"][key], value, key)
            self.assertEqual(base64.b64decode(event["data"]["raw_base64"]),
                             log.delivered(record["offset"]))
            self.assertIn("First line.", event["data"]["message"]["text"])

    def test_signatures_stand_up_to_the_reference_library(self):
        node = self.need("node")
        library = os.path.join(mxtest.NODE_DIR, "node_modules", "standardwebhooks")
        if not os.path.isdir(library):
            self.skipTest("npm's standardwebhooks is not installed in build/node")
        hook = Hook(self)
        self.send(10)
        relay = Relay(self, self.hook_config(hook))
        self.committed(10)
        self.assertEqual(relay.stop(), 0)
        script = ("const {Webhook} = require(process.argv[1]);"
                  "const lines = require('fs').readFileSync(0, 'utf8').trim().split('\\n');"
                  "for (const line of lines) { const r = JSON.parse(line);"
                  "new Webhook(r.secret).verify(Buffer.from(r.body, 'base64').toString(), r.headers);"
                  "} console.log(lines.length);")
        lines = [json.dumps({"secret": secret, "headers": r["headers"],
                             "body": base64.b64encode(r["body"]).decode()})
                 for r in hook.requests for secret in (SECRET, OTHER)]
        done = subprocess.run([node, "-e", script, library], input="\n".join(lines), text=True,
                              capture_output=True, timeout=30)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, "20"), done.stderr)
        forged = json.loads(lines[0])
        forged["body"] = base64.b64encode(b"{}").decode()
        done = subprocess.run([node, "-e", script, library], input=json.dumps(forged), text=True,
                              capture_output=True, timeout=30)
        self.assertNotEqual(done.returncode, 0, "the library takes anything")

    def test_http2_where_it_is_offered(self):
        node, _ = self.need("node"), self.need("openssl")
        cert, key = (os.path.join(self.directory, n) for n in ("cert.pem", "key.pem"))
        self.run_client(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                         "-out", cert, "-days", "2", "-subj", "/CN=localhost",
                         "-addext", "subjectAltName=IP:127.0.0.1"])
        script = ("const fs = require('fs'), http2 = require('http2');"
                  "const server = http2.createSecureServer({key: fs.readFileSync(process.argv[1]),"
                  "cert: fs.readFileSync(process.argv[2])}, (q, a) => { q.resume();"
                  "q.on('end', () => { console.log(q.httpVersion, q.headers['webhook-id']);"
                  "a.statusCode = 200; a.end(); }); });"
                  "server.listen(0, '127.0.0.1', () => console.log(server.address().port));")
        server = subprocess.Popen([node, "-e", script, key, cert], stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (server.kill(), server.wait(), server.stdout.close()))
        port = int(server.stdout.readline())

        class There:
            url = f"https://127.0.0.1:{port}/mail"

        self.send(20)
        relay = Relay(self, self.hook_config(There, ca_file=cert, order="none"))
        self.committed(20)
        self.assertEqual(relay.stop(), 0)
        lines = [server.stdout.readline().split(" ") for _ in range(20)]
        self.assertEqual({version for version, _ in lines}, {"2.0"})
        self.assertEqual({offset_of(i) for _, i in lines}, set(range(20)))

    def test_reports_have_their_type(self):
        bounce = (b"From: MAILER-DAEMON@r.test\r\nTo: a@mx.test\r\nSubject: failed\r\n"
                  b"MIME-Version: 1.0\r\n"
                  b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
                  b"--b\r\n\r\nIt failed.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
                  b"Reporting-MTA: dns; r.test\r\n\r\nFinal-Recipient: rfc822; x@r.test\r\n"
                  b"Action: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n")
        hook = Hook(self)
        self.send(1)
        self.send(1, message=bounce, sender="", recipients=("b17@mx.test",))
        config = self.hook_config(hook)
        config["filter"] = {"types": ["bounce"]}
        config["decode"] = {"bounce_tokens": ["recipient: b{}@mx.test"]}
        relay = Relay(self, config)
        self.committed(2)
        self.assertEqual(relay.stop(), 0)
        (event,) = hook.events()
        self.assertEqual((event["type"], event["data"]["offset"]), ("mail.bounce", 1))
        self.assertEqual(event["data"]["bounce"]["recipients"][0]["status"], "5.1.1")
        self.assertEqual(event["data"]["bounce"]["token"], "17")

    def test_raw_with_basic_auth_is_what_rails_takes(self):
        hook = Hook(self, lambda request, number: 204)
        auth = os.path.join(self.directory, "auth")
        with open(auth, "w") as out:
            out.write("actionmailbox:secret\n")
        self.send(1)
        relay = Relay(self, self.hook_config(hook, payload="raw", basic_auth_file=auth))
        self.committed(1)
        self.assertEqual(relay.stop(), 0)
        (request,) = hook.requests
        self.assertEqual(request["headers"]["content-type"], "message/rfc822")
        self.assertEqual(request["headers"]["authorization"],
                         "Basic " + base64.b64encode(b"actionmailbox:secret").decode())
        self.assertEqual(request["body"], Log(self.server.log_dir).delivered(0))

    def test_large_mail_is_named_by_a_claim(self):
        hook = Hook(self)
        self.send(1, size=5000)
        self.send(1)
        config = self.hook_config(hook, inline_bytes="2KiB")
        config["claim"] = {"url": "https://mx.test:9930"}
        relay = Relay(self, config)
        self.committed(2)
        self.assertEqual(relay.stop(), 0)
        large, small = (event["data"] for event in hook.events())
        self.assertIsNone(large["raw_base64"])
        self.assertEqual(large["claim"]["url"], "https://mx.test:9930/v1/body/" + large["id"] + "?form=delivered")
        self.assertIsNone(small["claim"])
        self.assertIsNotNone(small["raw_base64"])

    def test_a_storm_of_failures_is_sat_out(self):
        def storm(request, number):
            return random.Random(number).choice([500, 502, 503, 504, 408, 425, 200])
        hook = Hook(self, storm)
        self.send(15)
        relay = Relay(self, self.hook_config(hook, retry={"first": "10ms", "max": "40ms"}))
        self.committed(15, 40)
        self.assertEqual(hook.delivered(), list(range(15)), "once each and in order")
        self.assertGreater(len(hook.requests), 25)
        self.assertEqual(self.group()["dead"], 0)
        self.assertEqual(relay.stop(), 0)

    def test_silence_resets_and_slow_readers(self):
        def silent(handler):
            time.sleep(1.5)

        def reset(handler):
            import struct
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                          struct.pack("ii", 1, 0))
            handler.connection.close()

        hook = Hook(self, lambda request, number: [silent, reset, 200][min(number, 2)])
        self.send(2)
        relay = Relay(self, self.hook_config(hook, timeout="500ms",
                                             retry={"first": "1s", "max": "1s"}))
        wait_until(lambda: self.group()["state"] == "retrying", 10, "the state is retrying")
        self.assertTrue(self.group()["error"])
        self.committed(2)
        self.assertEqual(hook.delivered(), [0, 1])
        wait_until(lambda: self.group()["state"] == "running", 10, "the state is running again")
        self.assertEqual(relay.stop(), 0)

    def test_thirty_seconds_of_silence_and_a_slow_reader(self):
        """As long as a real one would be; half a second of it is in the test above."""
        if KILLS < 20:
            self.skipTest("takes a minute: in ./run.sh soak")

        def silent(handler):
            time.sleep(30)

        def slow(handler):  # the answer, a byte a second
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
                handler.connection.sendall(bytes([byte]))
                time.sleep(0.4)

        hook = Hook(self, lambda request, number: [silent, slow, 200][min(number, 2)])
        self.send(2)
        begun = time.monotonic()
        relay = Relay(self, self.hook_config(hook, timeout="40s"))
        self.committed(1, 90)
        took = time.monotonic() - begun
        self.assertGreater(took, 40)  # it was waited for: silence, then the slow answer
        self.committed(2, 90)
        self.assertEqual({offset_of(r["headers"]["webhook-id"]) for r in hook.requests}, {0, 1})
        self.assertEqual(self.group()["dead"], 0)
        self.assertEqual(relay.stop(), 0)

    def test_a_slow_reader_of_a_large_event(self):
        """A receiver that takes a megabyte in small sips is waited for as long as it moves."""
        got = []
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.addCleanup(listener.close)

        def receive():
            client, _ = listener.accept()
            with client:
                body = b""
                wanted = None
                while wanted is None or len(body) < wanted:
                    time.sleep(0.005)
                    chunk = client.recv(32768)
                    if not chunk:
                        return
                    body += chunk
                    if wanted is None and b"\r\n\r\n" in body:
                        head, _, body = body.partition(b"\r\n\r\n")
                        wanted = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
                got.append(body)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                client.recv(1)

        reading = threading.Thread(target=receive, daemon=True)
        reading.start()
        self.send(1, size=700_000)

        class There:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/mail"

        relay = Relay(self, self.hook_config(There, timeout="60s", inline_bytes="2MiB"))
        self.committed(1, 60)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        event = json.loads(got[0])
        self.assertEqual(base64.b64decode(event["data"]["raw_base64"]),
                         Log(self.server.log_dir).delivered(0))

    def test_retry_after_is_obeyed(self):
        hook = Hook(self, lambda request, number: (429, {"Retry-After": "2"}) if number == 0
                    else 200)
        self.send(2)
        relay = Relay(self, self.hook_config(hook, order="none"))
        self.committed(2)
        first = hook.requests[0]["at"]
        later = [r["at"] - first for r in hook.requests if r["status"] == 200 and r["at"] > first + 1]
        self.assertTrue(later)
        self.assertGreaterEqual(min(later), 1.9)
        self.assertEqual(relay.stop(), 0)

    def test_gone_pauses_the_group(self):
        hook = Hook(self, lambda request, number: 410 if number == 1 else 200)
        self.send(3)
        relay = Relay(self, self.hook_config(hook))
        self.assertEqual(relay.wait(), 1)
        facts = self.group()
        self.assertEqual((facts["state"], facts["current"], facts["dead"]), ("paused", 1, 0))
        self.assertIn("groups resume", relay.stderr())
        relay.start(wait=False)
        self.assertEqual(relay.wait(), 1)
        self.assertIn("paused", relay.stderr())
        self.groups("resume")
        relay.start()
        self.committed(3)
        self.assertEqual(hook.delivered(), [0, 1, 2])
        self.assertEqual(relay.stop(), 0)

    def test_refusals_become_dead_letters_that_can_be_tried_again(self):
        refuse = {2, 5}
        hook = Hook(self, lambda request, number:
                    (422, {"body": "no such ticket"})
                    if offset_of(request["headers"]["webhook-id"]) in refuse else 200)
        self.send(8)
        relay = Relay(self, self.hook_config(hook))
        self.committed(8)
        self.assertEqual(hook.delivered(), [0, 1, 3, 4, 6, 7])
        self.assertEqual(relay.stop(), 0)
        dead = self.groups("dead")["dead"]
        self.assertEqual([d["offset"] for d in dead], [2, 5])
        self.assertEqual(dead[0]["reply"], "422 no such ticket")
        self.assertEqual(dead[0]["attempts"], 1)
        self.assertEqual(self.group()["dead"], 2)
        refuse.clear()
        refuse.add(5)
        self.groups("dead", "--retry", "all")
        relay.start()
        wait_until(lambda: self.group()["dead"] == 1, 10, "one letter is delivered")
        wait_until(lambda: not [d for d in self.groups("dead")["dead"] if d["retried"]], 10,
                   "the other has been tried")
        self.assertEqual(relay.stop(), 0)
        self.assertEqual(hook.delivered()[-1], 2)
        (left,) = self.groups("dead")["dead"]
        self.assertEqual((left["offset"], left["attempts"]), (5, 2))

    def test_ten_refusals_in_a_row_pause(self):
        hook = Hook(self, lambda request, number: 400)
        self.send(15)
        relay = Relay(self, self.hook_config(hook, retry={"first": "10ms"}))
        self.assertEqual(relay.wait(), 1)
        facts = self.group()
        self.assertEqual((facts["state"], facts["dead"], facts["current"]), ("paused", 10, 10))
        self.assertIn("10 dead letters", relay.stderr())

    def test_dead_bytes_stop_the_group(self):
        hook = Hook(self, lambda request, number: 400)
        self.send(3, size=3000)
        relay = Relay(self, self.hook_config(hook, top={"dead_bytes": "4KiB"}))
        self.assertEqual(relay.wait(), 1)
        self.assertEqual(self.group()["current"], 0)
        self.assertIn("dead_bytes is reached", relay.stderr())

    def test_redirects_are_not_followed(self):
        other = Hook(self)
        hook = Hook(self, lambda request, number: (307, {"Location": other.url})
                    if number == 0 else 200)
        self.send(1)
        relay = Relay(self, self.hook_config(hook))
        self.committed(1)
        self.assertEqual(other.requests, [])
        self.assertIn("redirect", relay.stderr())
        self.assertEqual(relay.stop(), 0)

    def test_private_addresses_only_when_allowed_after_resolution(self):
        hook = Hook(self)
        self.send(1)
        config = self.hook_config(hook, allow_private=False)
        config["webhook"]["url"] = f"http://localhost:{hook.port}/"
        relay = Relay(self, config)
        wait_until(lambda: "private address" in relay.stderr(), 10, "it is said")
        self.assertEqual(hook.requests, [])
        self.assertEqual(self.group()["current"], 0)
        self.assertEqual(relay.stop(), 0)

    def test_certificates_are_checked(self):
        self.need("openssl")
        cert, key = (os.path.join(self.directory, n) for n in ("cert.pem", "key.pem"))
        self.run_client(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                         "-out", cert, "-days", "2", "-subj", "/CN=localhost",
                         "-addext", "subjectAltName=IP:127.0.0.1"])
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert, key)
        hook = Hook(self, tls=tls)
        self.send(1)
        relay = Relay(self, self.hook_config(hook))
        wait_until(lambda: "certificate" in relay.stderr(), 10, "the certificate is refused")
        self.assertEqual(hook.requests, [])
        self.assertEqual(relay.stop(), 0)
        relay.configure(self.hook_config(hook, ca_file=cert))
        relay.start()
        self.committed(1)
        self.assertEqual(relay.stop(), 0)

    def test_killed_at_random_moments(self):
        hook = Hook(self)
        self.send(60 if KILLS < 20 else 1000)
        luck = random.Random(11)
        relay = Relay(self, self.hook_config(hook), start=False)
        for _ in range(KILLS):
            relay.start(wait=False)
            time.sleep(luck.uniform(0.02, 0.12))
            relay.kill()
        relay.start()
        self.committed(self.sent, 60)
        self.assertEqual(relay.stop(), 0)
        came = hook.delivered()
        self.assertEqual(sorted(set(came)), list(range(self.sent)), "nothing is missing")
        firsts = list(dict.fromkeys(came))
        self.assertEqual(firsts, list(range(self.sent)), "in order")
        print(f"webhook: {KILLS} kills, {self.sent} records, missing 0, "
              f"repeated {len(came) - self.sent}")

    def test_letters_are_on_disk_before_the_cursor(self):
        hook = Hook(self, lambda request, number: 400
                    if offset_of(request["headers"]["webhook-id"]) == 1 else 200)
        self.send(3)
        count = os.path.join(self.directory, "steps")
        relay = Relay(self, self.hook_config(hook), env={"MXRING_RELAY_FAULT": f"count:{count}"})
        self.committed(3)
        self.assertEqual(relay.stop(), 0)
        with open(count) as text:
            steps = int(text.read())
        self.groups("dead", "--drop", "all")
        for step in range(1, steps):
            self.groups("reset", "--to-earliest", "--execute")
            relay.start(env={"MXRING_RELAY_FAULT": f"kill:{step}"}, wait=False)
            try:
                relay.wait(2)
            except subprocess.TimeoutExpired:
                relay.kill()
            dead = [d["offset"] for d in self.groups("dead")["dead"]]
            if self.group()["current"] > 1:
                self.assertEqual(dead, [1], f"step {step}: the cursor has passed a lost record")
            relay.start(env={"MXRING_RELAY_FAULT": ""})
            self.committed(3)
            self.assertEqual(relay.stop(), 0)
            self.assertEqual([d["offset"] for d in self.groups("dead")["dead"]], [1])
            self.groups("dead", "--drop", "all")

    def test_metrics(self):
        hook = Hook(self)
        self.send(3)
        relay = Relay(self, self.hook_config(hook, top={"admin": "127.0.0.1:0"}))
        self.committed(3)
        url = f"http://{relay.ready['admin']}"
        with urllib.request.urlopen(url + "/metrics", timeout=5) as answer:
            text = answer.read().decode()
        self.assertIn('mxring_relay_delivered_total{group="g"} 3', text)
        self.assertIn('mxring_relay_replies_total{group="g",code="200"} 3', text)
        self.assertIn("mxring_relay_delivery_seconds_count 3", text)
        with urllib.request.urlopen(url + "/healthz", timeout=5) as answer:
            self.assertEqual(answer.status, 200)
        self.assertEqual(relay.stop(), 0)


if __name__ == "__main__":
    mxtest.main()
