"""`mxring selftest`, and `mxring bundle` with canaries in everything that it must leave out."""

import io
import json
import os
import re
import stat
import subprocess
import tarfile

import mxtest
from mxtest import BINARY, Wire, sample_message
from odd_resolver import OddResolver


class Selftest(mxtest.TestCase):
    def selftest(self, config, *args, code=0):
        path = os.path.join(self.directory, "mxring.toml")
        with open(path, "w") as out:
            out.write(mxtest.toml(config))
        done = subprocess.run([BINARY, "selftest", "-c", path, *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def config(self, resolver, **more):
        return {"": {"hostname": "mx.sender.test"},
                "log": {"dir": os.path.join(self.directory, "log")},
                "dns": {"servers": [resolver]},
                "limits": {"disk_reserve_percent": 0, "disk_reserve_segments": 1}, **more}

    def test_all_is_well(self):
        dns = OddResolver({"mx.sender.test": [("A", "192.0.2.1")]})
        self.addCleanup(dns.stop)
        said = json.loads(self.selftest(self.config(dns.address), "--json").stdout)
        self.assertIs(said["ok"], True)
        found = {check["check"]: check for check in said["checks"]}
        for check in ("DNS", "host name", "mail", "mail over TLS", "drain"):
            self.assertEqual(found[check]["verdict"], "ok", found[check])
        for check in ("io_uring", "disk", "clock", "certificate", "sandbox"):
            self.assertIn(found[check]["verdict"], ("ok", "warning"), found[check])
            self.assertEqual(found[check]["do"] is None, found[check]["verdict"] == "ok")
        self.assertIn("three messages taken and durable", found["mail"]["said"])
        self.assertFalse(os.path.exists(os.path.join(self.directory, "log")))  # nothing is left

    def test_what_fails_is_named(self):
        dns = OddResolver({}, manner="refuse")
        self.addCleanup(dns.stop)
        done = self.selftest(self.config(dns.address), code=1)
        self.assertRegex(done.stdout, r"(?m)^DNS +failed +the resolver: ")
        self.assertRegex(done.stdout, r"(?m)^ +-> name one that answers in dns\.servers")
        self.assertRegex(done.stdout, r"(?m)^mail +ok ")
        self.selftest({"limits": {"recipient": 5}}, code=78)


class Bundle(mxtest.TestCase):
    def test_nothing_of_anybody_is_in_it(self):
        folder = mxtest.short_directory(self)
        token = os.path.join(self.directory, "token")
        with open(token, "w") as out:
            out.write("CANARYTOKEN\n")
        recipients = os.path.join(self.directory, "recipients")
        with open(recipients, "w") as out:
            out.write("canary-listed@mx.test\n@mx.test\n")
        server = self.serve({
            "listen": {"smtp": ["127.0.0.1:0"], "admin": f"unix:{folder}/a",
                       "control": f"{folder}/c", "admin_token_file": token, "proxy": ["127.0.0.1"]},
            "recipients": {"file": recipients},
            "journal": {"to": os.path.join(self.directory, "journal"), "accepted": True}})
        wire = Wire(server.address, greet=False)
        self.addCleanup(wire.close)
        wire.send("PROXY TCP4 198.51.100.77 127.0.0.1 4000 25\r\n")
        wire.reply()
        wire.ask("EHLO canary-helo.test")
        wire.message(b"From: canary-from@a.test\r\nSubject: canary subject\r\n\r\ncanary body\r\n",
                     "canary-sender@a.test", ["canary-recipient@mx.test"])
        wire.ask("MAIL FROM:<canary-sender@a.test>")
        wire.ask("RCPT TO:<canary-other@else.test>")
        config = os.path.join(self.directory, "mxring.toml")
        with open(config, "a") as out:
            out.write(f'\n[groups]\n# CANARYCOMMENT\n')
        with open(config) as text:
            text = text.read().replace("[log]", f"[log]\ndir = {json.dumps(server.log_dir)}")
        with open(config, "w") as out:
            out.write(text)
        journal = server.config["journal"]["to"]

        def journaled():
            with open(journal) as lines:
                return re.search("canary-other", lines.read())
        mxtest.wait_until(journaled, 20, "the journal's line, with whom it names")
        out = os.path.join(self.directory, "bundle.tar")
        done = self.run_client([BINARY, "bundle", "-c", config, "--out", out])
        self.assertIn(b"CONTENTS.txt says what they are", done.stderr)
        self.assertEqual(stat.S_IMODE(os.stat(out).st_mode), 0o600)
        with tarfile.open(out) as tar:
            texts = {m.name: tar.extractfile(m).read().decode() for m in tar.getmembers()}
        self.assertEqual(set(texts), {"mxring/" + name for name in (
            "CONTENTS.txt", "version.txt", "config.toml", "status.json", "live.json", "metrics.txt",
            "host.txt", "journal.jsonl", "log.txt")})
        for name, content in texts.items():
            self.assertNotRegex(content, r"(?i)canary|198\.51\.100\.77", name)
            if name != "mxring/CONTENTS.txt":
                self.assertIn(name.split("/")[1], texts["mxring/CONTENTS.txt"])
        self.assertEqual(json.loads(texts["mxring/status.json"])["next_offset"], 1)
        self.assertIn("shards", json.loads(texts["mxring/live.json"]))
        self.assertIn("\nmxring_messages_accepted_total 1\n", texts["mxring/metrics.txt"])
        self.assertIn("Max open files", texts["mxring/host.txt"])
        self.assertRegex(texts["mxring/log.txt"], r"^0{20}\.seg \d+ bytes, format \d+, ")
        lines = [json.loads(line) for line in texts["mxring/journal.jsonl"].splitlines()]
        self.assertTrue(any(line.get("reply") == "550 5.7.1" for line in lines), lines)
        self.assertRegex(texts["mxring/config.toml"], r'(?m)^admin_token_file = "\(left out\)"$')
        # Never over another, and as a stream.
        again = subprocess.run([BINARY, "bundle", "-c", config, "--out", out], capture_output=True,
                               text=True, timeout=60)
        self.assertEqual(again.returncode, 1)
        self.assertIn("File exists", again.stderr)
        server.kill()  # without a receiver there is still the rest
        done = self.run_client([BINARY, "bundle", "-c", config, "--out", "-"])
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            self.assertIn(b"no receiver runs", tar.extractfile("mxring/status.json").read())


if __name__ == "__main__":
    mxtest.main()
