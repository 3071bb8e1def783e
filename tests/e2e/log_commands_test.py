"""The log commands on a log that a server wrote, and while it writes."""

import array
import fcntl
import json
import mailbox
import os
import re
import shutil
import signal
import subprocess
import termios
import threading
import time

import mxtest
from mxtest import BINARY, Log, Wire, sample_message, sha256


def pipe_bytes(pipe):
    """How many wait in it to be read."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


class LogCase(mxtest.TestCase):
    """A stopped log of twelve messages, which every test only reads (or copies)."""

    COUNT = 12

    def setUp(self):
        super().setUp()
        self.server = self.serve()
        self.messages = [self.message(i) for i in range(self.COUNT)]
        with Wire(self.server.address) as wire:
            wire.hello()
            for i, message in enumerate(self.messages):
                answer = wire.message(message, f"sender{i}@client.test", [f"rcpt{i}@mx.test"])
                self.assertEqual(answer, f"250 2.0.0 Ok {i}")
        self.assertEqual(self.server.stop(), 0)
        self.log = Log(self.server.log_dir)

    @staticmethod
    def message(i):
        return sample_message(300 + 2000 * i, f"message{i}")


class Cat(LogCase):
    KEYS = ["id", "offset", "received_at", "client", "tls", "mail_from", "rcpt_to", "size", "sha256",
            "spf", "dkim", "dmarc", "disposition", "message_id", "subject", "from", "queue_id", "protocol", "body_type", "smtputf8",
            "requiretls", "long_line", "binary", "envid", "ret", "recipients"]

    def test_json(self):
        records = self.log.records()
        self.assertEqual(len(records), self.COUNT)
        for i, record in enumerate(records):
            self.assertEqual(list(record), self.KEYS)
            self.assertEqual(list(record["client"]), ["ip", "port", "helo", "name", "via"])
            self.assertEqual(record["offset"], i)
            self.assertEqual(record["id"], f"{self.log.info()['log_id']}_{i}")
            self.assertRegex(record["received_at"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")
            self.assertEqual((record["client"]["ip"], record["client"]["helo"]),
                             ("127.0.0.1", "client.test"))
            self.assertEqual((record["mail_from"], record["rcpt_to"]),
                             (f"sender{i}@client.test", [f"rcpt{i}@mx.test"]))
            self.assertEqual((record["size"], record["sha256"]),
                             (len(self.messages[i]), sha256(self.messages[i])))
            self.assertEqual((record["tls"], record["spf"], record["dkim"], record["dmarc"]),
                             (None, None, [], None))
            self.assertEqual(record["disposition"], "accept")

    def test_selection(self):
        def offsets(*args):
            return [r["offset"] for r in self.log.records(*args)]

        everything = list(range(self.COUNT))
        self.assertEqual(offsets("--from", 5), everything[5:])
        self.assertEqual(offsets("--from", 5, "--count", 3), everything[5:8])
        self.assertEqual(offsets("--count", 0), [])
        self.assertEqual(offsets("--from", self.COUNT), [])
        self.assertEqual(offsets("--from", -1), everything[-1:])
        self.assertEqual(offsets("--from", -3, "--count", 2), everything[-3:-1])
        self.assertEqual(offsets("--from", -99), everything)
        for command in (["cat"], ["cat", "--json"], ["tail"], ["export", "--format", "mbox",
                                                               "--out", self.directory + "/none"]):
            done = self.log.run(*command, "--from", self.COUNT + 1, check=False)
            self.assertEqual((done.returncode, done.stdout), (1, b""), command)
            self.assertIn(b"offset 13 is beyond the end of the log, 12\n", done.stderr)
        self.assertFalse(os.path.exists(self.directory + "/none"))
        times = [r["received_at"] for r in self.log.records()]
        self.assertEqual(offsets("--until", times[6]),
                         [i for i in everything if times[i] < times[6]])
        self.assertEqual(offsets("--since", times[2], "--until", times[9]),
                         [i for i in everything if times[2] <= times[i] < times[9]])
        self.assertEqual(offsets("--since", "1h"), everything)
        self.assertEqual(offsets("--since", "2000-01-01"), everything)
        self.assertEqual(offsets("--since", "2999-01-01T00:00:00Z"), [])
        since = offsets("--since", times[6])
        self.assertEqual(since, everything[times.index(times[6]):])

    def test_bytes(self):
        self.assertEqual(self.log.run("cat", "--as-received").stdout, b"".join(self.messages))
        raw = self.log.run("cat", "--raw", "--from", 3, "--count", 1).stdout
        self.assertTrue(raw.startswith(b"Return-Path: <sender3@client.test>\r\nReceived: from "))
        self.assertTrue(raw.endswith(self.messages[3]))

    def test_listing(self):
        text = self.log.run("cat").stdout.decode()
        self.assertIn("<sender7@client.test> -> <rcpt7@mx.test>", text)
        self.assertNotIn("\x1b", text)
        self.assertEqual(len(text.splitlines()), 3 * self.COUNT)

    def test_usage(self):
        for args in (["--json", "--raw"], ["--from", "x"], ["--since", "yesterday"],
                     ["--from", 1, "--since", "1h"]):
            done = self.log.run("cat", *args, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, b""), args)
        missing = Log(self.directory + "/nothing").run("cat", check=False)
        self.assertEqual(missing.returncode, 1)
        self.assertIn(b"nothing", missing.stderr)

    def test_reader_that_goes_away_is_no_failure(self):
        cat = subprocess.Popen([BINARY, "log", "cat", self.log.directory, "--as-received"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        cat.stdout.read(10)
        cat.stdout.close()
        self.assertEqual(cat.stderr.read(), b"")
        cat.stderr.close()
        self.assertEqual(cat.wait(20), 0)


class InfoAndVerify(LogCase):
    def test_info(self):
        info = self.log.info()
        self.assertEqual((info["first"], info["next"]), (0, self.COUNT))
        self.assertEqual(info["records"], self.COUNT)
        self.assertEqual(sum(s["records"] for s in info["segments"]), self.COUNT)
        self.assertEqual(sum(s["bytes"] for s in info["segments"]), info["bytes"])
        self.assertGreater(info["bytes"], sum(map(len, self.messages)))
        for segment in info["segments"]:
            self.assertTrue(os.path.exists(os.path.join(self.log.directory, segment["file"])))
        self.assertIn("12 records in 1 segment,", self.log.run("info").stdout.decode())

    def test_verify_of_a_good_log(self):
        code, report = self.log.verify()
        self.assertEqual((code, report["ok"], report["records"]), (0, True, self.COUNT))
        self.assertEqual((report["damaged"], report["torn_tail"]), ([], None))
        self.assertTrue(self.log.run("verify").stdout.startswith(b"ok: 12 records"))

    def test_others_are_told_who_may_read(self):
        os.chmod(self.log.directory, 0o750 if os.geteuid() == 0 else 0)
        other = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        try:
            done = subprocess.run([BINARY, "log", "info", self.log.directory], capture_output=True,
                                  timeout=20, **other)
        except PermissionError:
            self.skipTest("another user cannot start the program where it is")
        finally:
            os.chmod(self.log.directory, 0o750)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.decode(), r": Permission denied\nmxring: .*usermod -aG mxring")

    def test_damage_in_the_middle(self):
        path = os.path.join(self.log.directory, self.log.info()["segments"][0]["file"])
        with open(path, "r+b") as segment:
            at = segment.read().index(self.messages[5]) + 200
            segment.seek(at)
            segment.write(b"\xff")
        code, report = self.log.verify()
        self.assertEqual((code, report["ok"], report["records"]), (1, False, self.COUNT - 1))
        self.assertEqual([(d["offset"], d["records"]) for d in report["damaged"]], [(5, 1)])
        # Readers go on behind it, say so, and fail.
        done = self.log.run("cat", "--json", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual([json.loads(l)["offset"] for l in done.stdout.splitlines()],
                         [i for i in range(self.COUNT) if i != 5])
        self.assertIn(b"mxring: ", done.stderr)

    def test_a_segment_that_was_set_aside(self):
        # A state page from before the first message, and a segment whose header is lost.
        empty = self.serve(log_dir=os.path.join(self.directory, "empty"))
        self.assertEqual(empty.stop(), 0)
        shutil.copy(os.path.join(empty.log_dir, "state"), self.log.directory)
        name = self.log.info()["segments"][0]["file"]
        path = os.path.join(self.log.directory, name)
        with open(path, "r+b") as segment:
            segment.write(bytes(4096))
        size = os.path.getsize(path)
        with open(self.server.stderr_path, "wb"):
            pass
        self.server.start()
        aside = name.replace(".seg", ".damaged-1")
        self.assertIn(aside, self.server.stderr())
        with Wire(self.server.address) as wire:
            wire.hello()
            self.assertEqual(wire.message(sample_message()), f"250 2.0.0 Ok {self.COUNT}")
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(os.path.getsize(os.path.join(self.log.directory, aside)), size)
        self.assertEqual([r["offset"] for r in self.log.records()], [self.COUNT])
        info = self.log.info()
        self.assertEqual(info["set_aside"], [{"file": aside, "first": 0, "file_bytes": size}])
        self.assertEqual((info["records"], info["first"]), (1, self.COUNT))
        self.assertIn(f"set aside, with a damaged header: {aside}",
                      self.log.run("info").stdout.decode())
        code, report = self.log.verify()
        self.assertEqual((code, report["ok"], report["records"]), (1, False, 1))
        self.assertEqual([(d["segment"], d["bytes"]) for d in report["damaged"]], [(aside, size)])
        self.assertIn(f"{aside}: set aside".encode(), self.log.run("verify", check=False).stdout)


class DocumentedKeys(LogCase):
    """Every key that is printed is in src/cli/JSON.md, in its command's section."""

    def words(self, heading):
        path = os.path.join(os.path.dirname(__file__), "..", "..", "src", "cli", "JSON.md")
        with open(path) as text:
            sections = [s for s in text.read().split("\n## ") if heading in s.split("\n")[0]]
        self.assertEqual(len(sections), 1, heading)
        return set(re.findall(r"[a-z][a-z_0-9]*", " ".join(re.findall(r"`[^`]*`", sections[0]))))

    def keys(self, value):
        if isinstance(value, dict):
            return set(value).union(*map(self.keys, value.values()))
        return set().union(*map(self.keys, value)) if isinstance(value, list) else set()

    def documented(self, heading, command, also=()):
        output = self.run_client([BINARY, *command], cwd=self.directory).stdout
        found = self.keys(json.loads(output.splitlines()[0]))
        self.assertGreater(len(found), 2)
        known = self.words(heading).union(*map(self.words, also))
        self.assertEqual(found - known, set(), heading)

    def test_log(self):
        directory = self.log.directory
        for command in ("cat", "info", "verify"):
            self.documented(f"`log {command}`", ["log", command, "--json", directory])
        self.documented("`log export`", ["log", "export", "--json", directory, "--format", "mbox",
                                         "--out", self.directory + "/all.mbox"])

    def test_message(self):
        nobody = ["--resolver", f"127.0.0.1:{mxtest.free_port()}"]
        with open(self.directory + "/m.eml", "wb") as file:
            file.write(sample_message())
        envelope = ["--ip", "192.0.2.1", "--mail-from", "a@client.test", "--helo", "h.client.test"]
        self.documented("`auth`", ["auth", "--json", *envelope, *nobody, "m.eml"], ["`log cat`"])
        self.documented("`spf`", ["spf", "--json", *envelope, *nobody])
        self.documented("`dmarc`", ["dmarc", "--json", "--from", "client.test", *nobody])
        self.documented("`dkim keygen`", ["dkim", "keygen", "--json", "--type", "ed25519",
                                          "--domain", "client.test", "--selector", "s"])


class Export(LogCase):
    def export(self, form, out, *args, check=True):
        return self.log.run("export", "--format", form, "--out", out, *args, check=check)

    def out(self, name):
        return os.path.join(self.directory, name)

    def test_eml(self):
        self.export("eml", self.out("eml"))
        self.assertEqual(sorted(os.listdir(self.out("eml"))),
                         [f"{i:012}.eml" for i in range(self.COUNT)])
        for i in range(self.COUNT):
            with open(self.out(f"eml/{i:012}.eml"), "rb") as text:
                self.assertEqual(text.read(), self.log.delivered(i))

    def test_as_received_and_selection(self):
        self.export("eml", self.out("eml"), "--from", 4, "--count", 2, "--as-received")
        self.assertEqual(sorted(os.listdir(self.out("eml"))), ["000000000004.eml",
                                                               "000000000005.eml"])
        with open(self.out("eml/000000000005.eml"), "rb") as text:
            self.assertEqual(text.read(), self.messages[5])

    def test_mbox(self):
        self.export("mbox", self.out("box"))
        box = mailbox.mbox(self.out("box"))
        self.assertEqual(len(box), self.COUNT)
        for i, message in enumerate(box):
            self.assertRegex(message.get_from(), rf"^sender{i}@client\.test \w\w\w \w\w\w [ \d]\d ")
            # The module leaves mboxrd's quotes in; take one '>' off each quoted line.
            text = message.as_bytes(unixfrom=False)
            lines = [line[1:] if line.lstrip(b">").startswith(b"From ") and line[:1] == b">"
                     else line for line in text.split(b"\n")]
            self.assertEqual(b"\n".join(lines), self.log.delivered(i).replace(b"\r\n", b"\n"))
        box.close()

    def test_maildir(self):
        self.export("maildir", self.out("md"))
        self.assertEqual(sorted(os.listdir(self.out("md"))), ["cur", "new", "tmp"])
        self.assertEqual(os.listdir(self.out("md/tmp")), [])
        box = mailbox.Maildir(self.out("md"), create=False)
        self.assertEqual(len(box), self.COUNT)
        found = sorted(message.as_bytes() for message in box)
        self.assertEqual(found, sorted(self.log.delivered(i).replace(b"\r\n", b"\n")
                                       for i in range(self.COUNT)))
        # The same again adds nothing, also when some have been read meanwhile.
        name = sorted(os.listdir(self.out("md/new")))[0]
        os.rename(self.out("md/new/" + name), self.out("md/cur/" + name + ":2,S"))
        self.export("maildir", self.out("md"))
        self.assertEqual(len(mailbox.Maildir(self.out("md"), create=False)), self.COUNT)

    def test_standard_output(self):
        for form in ("jsonl", "mbox"):
            self.export(form, self.out(form))
            with open(self.out(form), "rb") as text:
                whole = text.read()
            for out in ("-", "/dev/stdout"):
                done = self.log.run("export", "--format", form, "--out", out)
                self.assertEqual(done.stdout, whole, out)
                self.assertIn(b"12 messages", done.stderr)
        done = self.export("eml", "-", check=False)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertNotIn("-", os.listdir("."))

    def test_json_lines(self):
        import base64
        self.export("jsonl", self.out("lines"), "--as-received")
        with open(self.out("lines")) as text:
            lines = [json.loads(line) for line in text]
        for record, line, message in zip(self.log.records(), lines, self.messages):
            self.assertEqual(base64.b64decode(line.pop("message_base64"), validate=True), message)
            self.assertEqual(line, record)
        self.assertEqual(len(lines), self.COUNT)

    def test_nothing_is_overwritten(self):
        for form in ("eml", "mbox", "jsonl"):
            self.export(form, self.out(form), "--count", 3)
            again = self.export(form, self.out(form), "--count", 5, check=False)
            self.assertEqual(again.returncode, 1, form)
            self.assertIn(b"--force", again.stderr)
            self.export(form, self.out(form), "--count", 5, "--force")
        self.assertEqual(len(os.listdir(self.out("eml"))), 5)
        box = mailbox.mbox(self.out("mbox"))
        self.assertEqual(len(box), 5)
        box.close()
        # Nothing half-written is left behind either.
        left = [n for _, _, names in os.walk(self.directory) for n in names if "partial" in n]
        self.assertEqual(left, [])

    def test_report(self):
        done = self.export("mbox", self.out("box"), "--json")
        report = json.loads(done.stdout)
        self.assertEqual((report["records"], report["complete"]), (self.COUNT, True))
        self.assertEqual(done.stderr, b"")

    def test_cannot_write(self):
        done = self.export("mbox", "/nowhere/at/all/box", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"/nowhere/at/all/box", done.stderr)


class Following(mxtest.TestCase):
    """Readers beside a server that writes."""

    def setUp(self):
        super().setUp()
        # Small segments, so that readers see them roll.
        self.server = self.serve({"log": {"segment_bytes": "4MiB"},
                                  "limits": {"message_size": "1MiB", "memory": "64MiB"}})
        self.log = Log(self.server.log_dir)
        self.sent = []

    def send(self, count, marker, size=20_000):
        with Wire(self.server.address) as wire:
            wire.hello()
            for i in range(count):
                message = sample_message(size, f"{marker}-{i}")
                answer = wire.message(message)
                self.assertRegex(answer, "^250 2.0.0 Ok ")
                self.sent.append((int(answer.split()[-1]), sha256(message)))

    def tail(self, *args):
        process = subprocess.Popen([BINARY, "log", "tail", self.log.directory, "--json", *args],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        seen = []
        thread = threading.Thread(
            target=lambda: seen.extend(json.loads(line) for line in process.stdout), daemon=True)
        thread.start()
        return process, seen, thread

    def test_tail_while_writing(self):
        self.send(3, "before")
        follower, seen, thread = self.tail("--from", "0")
        late, seen_late, late_thread = self.tail()
        mxtest.wait_until(lambda: len(seen) == 3, 20, "what was there is shown")
        time.sleep(0.3)
        begin = time.monotonic()
        self.send(1, "one")
        mxtest.wait_until(lambda: len(seen) == 4 and len(seen_late) == 1, 5, "the new one is shown")
        self.assertLess(time.monotonic() - begin, 3)
        writers = [threading.Thread(target=self.send, args=(150, f"w{i}")) for i in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        mxtest.wait_until(lambda: len(seen) == len(self.sent), 20, "all are shown")
        follower.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(10), 0)
        late.send_signal(signal.SIGINT)
        self.assertEqual(late.wait(10), 0)
        thread.join()
        late_thread.join()
        self.assertEqual([(r["offset"], r["sha256"]) for r in seen], sorted(self.sent))
        self.assertEqual([r["offset"] for r in seen_late], list(range(3, len(self.sent))))
        self.assertGreater(len(self.log.info()["segments"]), 1)

    def test_two_readers_while_one_writes(self):
        writer = threading.Thread(target=self.send, args=(400, "w"))
        writer.start()
        reads = 0
        while writer.is_alive():
            done = len(self.sent)
            pair = [subprocess.Popen([BINARY, "log", "cat", self.log.directory, "--json"],
                                     stdout=subprocess.PIPE) for _ in range(2)]
            for process in pair:
                records = [json.loads(line) for line in process.stdout]
                process.stdout.close()
                self.assertEqual(process.wait(20), 0)
                # Whatever was acknowledged before is there, in order and without gaps.
                self.assertGreaterEqual(len(records), done)
                self.assertEqual([r["offset"] for r in records], list(range(len(records))))
                self.assertEqual([(r["offset"], r["sha256"]) for r in records[:done]],
                                 self.sent[:done])
            code, report = self.log.verify()
            self.assertEqual((code, report["ok"]), (0, True), report)
            reads += 1
        writer.join()
        self.assertGreater(reads, 1)
        self.assertEqual(len(self.sent), 400)

    def test_tail_with_a_full_pipe_ends_on_a_signal(self):
        self.send(40, "m", size=500)
        for sign in (signal.SIGTERM, signal.SIGINT):
            for form in ([], ["--json"]):
                process = subprocess.Popen(
                    [BINARY, "log", "tail", self.log.directory, "--from", "0", *form],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                # A pipe of one page, which the records that are there fill.
                fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
                mxtest.wait_until(lambda: pipe_bytes(process.stdout) > 3000, 10, "full pipe")
                time.sleep(0.1)
                begun = time.monotonic()
                process.send_signal(sign)
                self.assertEqual(process.wait(5), 0)
                self.assertLess(time.monotonic() - begun, 0.1)
                self.assertEqual(process.stderr.read(), b"")
                process.stdout.close()
                process.stderr.close()

    def test_tail_ends_when_nobody_reads(self):
        self.send(1, "one")
        process = subprocess.Popen([BINARY, "log", "tail", self.log.directory, "--from", "0"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertTrue(process.stdout.readline())
        process.stdout.close()
        self.assertEqual(process.wait(10), 0)
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()


if __name__ == "__main__":
    mxtest.main()
