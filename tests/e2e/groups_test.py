"""Named readers: `log tail --group`, `groups`, and what happens to cursors."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time

import mxtest
from mxtest import BINARY, Log, Wire, sample_message


class Tail:
    """`log tail --group G --json ...`, read line by line."""

    def __init__(self, test, directory, group, *args, program=BINARY):
        self.errors = open(os.path.join(test.directory, f"tail.{time.monotonic_ns()}"), "w+b")
        self.process = subprocess.Popen(
            [program, "log", "tail", directory, "--group", group, "--json", *map(str, args)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0)
        self.buffer = b""
        test.addCleanup(self.close)

    def line(self, timeout=20):
        """The next object, or None when there is none in time or any more."""
        end = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None
            chunk = self.process.stdout.read(65536)
            if not chunk:
                return None
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def lines(self, count):
        return [self.line() for _ in range(count)]

    def ack(self, offset):
        self.process.stdin.write(f"{offset}\n".encode())

    def end(self, sign=signal.SIGTERM, timeout=10):
        self.process.send_signal(sign)
        return self.process.wait(timeout)

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            try:
                file.close()
            except OSError:
                pass


class GroupCase(mxtest.TestCase):
    CONFIG = {"log": {"segment_bytes": "4MiB"},
              "limits": {"message_size": "1MiB", "memory": "64MiB"}}

    def setUp(self):
        super().setUp()
        self.server = self.serve(self.CONFIG)
        self.log = Log(self.server.log_dir)
        self.sent = []

    def send(self, count, size=400):
        with Wire(self.server.address) as wire:
            wire.hello()
            for _ in range(count):
                message = sample_message(size, f"m{len(self.sent)}")
                answer = wire.message(message)
                self.assertEqual(answer, f"250 2.0.0 Ok {len(self.sent)}")
                self.sent.append(message)

    def tail(self, group, *args):
        return Tail(self, self.log.directory, group, *args)

    def groups(self, command, *args, code=0):
        done = subprocess.run([BINARY, "groups", command, self.log.directory, *map(str, args),
                               "--json"], capture_output=True, timeout=30)
        self.assertEqual(done.returncode, code, (command, args, done.stdout, done.stderr))
        self.said = done.stderr.decode()
        return json.loads(done.stdout) if done.stdout else None

    def group(self, name):
        (facts,) = self.groups("describe", name)["groups"]
        return facts

    def cursor(self, name):
        return os.path.join(self.log.directory, "groups", name + ".cursor")


class Reading(GroupCase):
    def test_a_group_goes_on_where_it_stopped(self):
        self.send(5)
        tail = self.tail("a")
        self.assertEqual([r["offset"] for r in tail.lines(5)], [0, 1, 2, 3, 4])
        self.assertEqual(self.group("a")["state"], "running")
        self.assertEqual(self.group("a")["owner_pid"], tail.process.pid)
        self.assertEqual(tail.end(), 0)
        self.assertEqual((self.group("a")["current"], self.group("a")["state"]), (5, "idle"))
        self.send(3)
        self.assertEqual((self.group("a")["lag"], self.group("a")["end"]), (3, 8))
        self.assertGreater(self.group("a")["lag_bytes"], 1000)
        tail = self.tail("a")
        self.assertEqual([r["offset"] for r in tail.lines(3)], [5, 6, 7])
        self.send(1)
        self.assertEqual(tail.line()["offset"], 8)
        self.assertEqual(tail.end(signal.SIGINT), 0)
        self.assertEqual(self.group("a")["lag"], 0)

    def test_what_is_not_acknowledged_comes_again(self):
        self.send(10)
        tail = self.tail("a", "--ack", "--body", "base64")
        records = tail.lines(10)
        self.assertEqual([base64.b64decode(r["message_base64"]) for r in records], self.sent)
        tail.ack(3)
        tail.process.stdin.close()  # end of input commits
        self.assertEqual(tail.process.wait(10), 0)
        self.assertEqual(self.group("a")["current"], 4)
        tail = self.tail("a", "--ack")
        self.assertEqual([r["offset"] for r in tail.lines(6)], [4, 5, 6, 7, 8, 9])
        tail.ack(6)
        tail.ack(5)
        mxtest.wait_until(lambda: self.group("a")["current"] == 7, 5, "committed while it runs")
        tail.process.kill()
        tail.process.wait()
        tail = self.tail("a", "--ack", "--delivered")
        records = tail.lines(3)
        self.assertEqual([r["offset"] for r in records], [7, 8, 9])
        self.assertEqual(base64.b64decode(records[0]["message_base64"]), self.log.delivered(7))
        tail.ack(10)  # not handed over
        self.assertEqual(tail.process.wait(10), 1)
        self.assertIn("offset 10 was acknowledged, and has not been handed over", tail.stderr())
        tail = self.tail("a", "--ack")
        tail.process.stdin.write(b"seven\n")
        self.assertEqual(tail.process.wait(10), 1)
        self.assertIn('"seven" is no offset', tail.stderr())
        self.assertEqual(self.group("a")["current"], 7)

    def test_a_reader_that_answers_before_it_reads_on(self):
        """Both pipes full at once would be a deadlock."""
        self.send(30, 20_000)
        tail = self.tail("a", "--ack", "--body", "base64")
        for _ in range(20_000):  # 140 KB of answers, more than a pipe holds
            tail.ack(0)
        self.assertEqual([r["offset"] for r in tail.lines(30)], list(range(30)))
        self.assertEqual(tail.end(), 0)
        self.assertEqual(self.group("a")["current"], 1)

    def test_a_full_pipe_ends_on_a_signal_and_commits_what_was_written(self):
        self.send(30, 20_000)
        tail = self.tail("a", "--body", "base64")
        time.sleep(0.7)
        begun = time.monotonic()
        self.assertEqual(tail.end(), 0)
        self.assertLess(time.monotonic() - begun, 0.3)
        self.assertLess(self.group("a")["current"], 30)

    def test_where_a_new_group_begins(self):
        self.send(6)
        for name, args, first in (("a", (), 0), ("b", ("--from", 4), 4), ("c", ("--from", -1), 5),
                                  ("d", ("-n", 2), 4), ("e", ("--since", "1h"), 0)):
            tail = self.tail(name, *args)
            self.assertEqual(tail.line()["offset"], first, name)
            self.assertEqual(tail.end(), 0)
        tail = self.tail("a", "--from", 1)
        self.assertEqual(tail.process.wait(10), 2)
        self.assertIn("there is a group a already", tail.stderr())
        tail = self.tail("f", "--from", 7)
        self.assertEqual(tail.process.wait(10), 1)
        self.assertIn("beyond the end of the log, 6", tail.stderr())
        self.assertEqual([g["group"] for g in self.groups("list")["groups"]], list("abcde"))
        tail = self.tail("not/a/name")
        self.assertEqual(tail.process.wait(10), 2)

    def test_one_owner(self):
        self.send(1)
        first = self.tail("a")
        self.assertEqual(first.line()["offset"], 0)
        second = self.tail("a")
        self.assertEqual(second.process.wait(10), 1)
        self.assertIn(f"(pid {first.process.pid}) reads for group a", second.stderr())
        for command in ("hold", "release", "pause", "resume", "delete"):
            self.groups(command, "a", code=1)
            self.assertIn("stop its reader first", self.said)
        self.groups("reset", "a", "--to-latest", "--execute", code=1)
        self.assertEqual(first.end(), 0)

    def test_wait_for_a_log(self):
        place = os.path.join(self.directory, "later")
        tail = Tail(self, place, "a", "--wait")
        time.sleep(0.3)
        self.assertIsNone(tail.process.poll())
        other = mxtest.Server(self.directory, self.CONFIG, log_dir=place)
        self.servers.append(other)
        with Wire(other.address) as wire:
            wire.hello()
            wire.message(sample_message())
        self.assertEqual(tail.line()["offset"], 0)
        self.assertEqual(tail.end(), 0)


class Commands(GroupCase):
    def test_life_of_a_group(self):
        self.send(4)
        self.groups("create", "g")
        self.assertEqual({k: v for k, v in self.group("g").items()
                          if k not in ("lag_bytes", "held_bytes", "lag_seconds",
                                       "committed_at")},
                         {"group": "g", "current": 0, "end": 4, "lag": 4, "holds": True,
                          "state": "idle", "owner_pid": None, "dead": 0, "error": None})
        self.groups("create", "g", code=1)
        self.groups("release", "g")
        self.assertFalse(self.group("g")["holds"])
        self.groups("hold", "g")
        self.assertTrue(self.group("g")["holds"])
        self.groups("pause", "g")
        self.assertEqual(self.group("g")["state"], "paused")
        tail = self.tail("g")
        self.assertEqual(tail.process.wait(10), 1)
        self.assertIn("group g is paused", tail.stderr())
        self.groups("resume", "g")
        self.groups("create", "late", "--latest", "--no-hold")
        self.assertEqual((self.group("late")["current"], self.group("late")["holds"]), (4, False))
        self.groups("delete", "g")
        self.groups("describe", "g", code=1)
        self.groups("hold", "g", code=1)
        self.assertIn("there is no group g", self.said)
        mode = os.stat(os.path.join(self.log.directory, "groups")).st_mode & 0o7777
        self.assertEqual(mode, 0o3770)

    def test_reset(self):
        self.send(10)
        times = [r["received_at"] for r in self.log.records()]
        self.groups("create", "g", "--from", 5)
        for args, to in ((("--to-earliest",), 0), (("--to-latest",), 10), (("--to-offset", 7), 7),
                         (("--shift-by", -3), 2), (("--shift-by", 2), 7), (("--shift-by", -9), 0),
                         (("--by-duration", "1h"), 0), (("--to-datetime", "2999-01-01"), 10),
                         (("--to-datetime", times[6]), times.index(times[6]))):
            said = self.groups("reset", "g", *args)
            self.assertEqual(said, {"group": "g", "from": 5, "to": to, "records": abs(5 - to),
                                    "bytes": said["bytes"], "executed": False}, args)
            self.assertEqual(said["bytes"] > 0, to != 5)
            self.assertEqual(self.group("g")["current"], 5)
        for args in (("--to-offset", 11), ("--shift-by", 6)):
            self.groups("reset", "g", *args, code=1)
            self.assertIn("is not in the log, which has 0 to 10", self.said)
        self.groups("reset", "g", code=2)
        self.groups("reset", "g", "--to-latest", "--to-earliest", code=2)
        self.assertTrue(self.groups("reset", "g", "--to-offset", 8, "--execute")["executed"])
        self.assertEqual(self.tail("g").line()["offset"], 8)

    def test_dead_letters(self):
        self.send(2)
        self.groups("create", "g")
        folder = os.path.join(self.log.directory, "groups", "g.dead")
        os.mkdir(folder)
        for offset in (0, 1):
            base = os.path.join(folder, f"{offset:020}")
            with open(base + ".eml", "wb") as file:
                file.write(self.log.delivered(offset))
            with open(base + ".json", "w") as file:
                json.dump({"id": f"x_{offset}", "offset": offset, "attempts": 3, "first": "a",
                           "last": "b", "reply": "550 no"}, file)
        self.assertEqual(self.groups("dead", "g"), {"dead": [
            {"offset": o, "id": f"x_{o}", "first": "a", "last": "b", "reply": "550 no",
             "attempts": 3, "retried": False} for o in (0, 1)]})
        self.assertEqual([d["retried"] for d in self.groups("dead", "g", "--retry", 1)["dead"]],
                         [False, True])
        self.groups("dead", "g", "--drop", 5, code=1)
        self.groups("delete", "g", code=1)
        self.assertIn("has dead letters", self.said)
        self.assertEqual([d["offset"] for d in self.groups("dead", "g", "--drop", 0)["dead"]], [1])
        self.assertEqual(self.groups("dead", "g", "--drop", "all"), {"dead": []})
        self.groups("delete", "g")


class Cursors(GroupCase):
    def stopped(self, group, text, *args):
        tail = self.tail(group, *args)
        self.assertEqual(tail.process.wait(10), 1)
        self.assertIn(text, tail.stderr())
        self.assertIn("groups reset", tail.stderr())

    def test_another_log(self):
        self.send(6)
        self.assertEqual(len(self.tail_all("g")), 6)
        other = mxtest.Server(self.directory, self.CONFIG, log_dir=self.directory + "/other")
        self.servers.append(other)
        with Wire(other.address) as wire:
            wire.hello()
            for _ in range(9):
                wire.message(sample_message())
        os.makedirs(other.log_dir + "/groups", exist_ok=True)
        shutil.copy(self.cursor("g"), other.log_dir + "/groups/g.cursor")
        self.log = Log(other.log_dir)
        self.assertEqual((self.group("g")["state"], self.group("g")["current"]),
                         ("foreign-log", 6))
        self.stopped("g", "is of another log than this one")
        self.groups("reset", "g", "--to-offset", 2, "--execute")
        self.assertEqual(self.group("g")["state"], "idle")
        self.assertEqual(len(self.tail_all("g")), 7)

    def tail_all(self, group):
        tail = self.tail(group)
        records = []
        while (record := tail.line(2)) is not None:
            records.append(record)
        self.assertEqual(tail.end(), 0)
        return records

    def test_a_log_put_back_from_an_older_copy(self):
        self.send(5)
        self.assertEqual(self.server.stop(), 0)
        shutil.copytree(self.log.directory, self.directory + "/copy")
        self.server.start()
        self.send(5)
        self.assertEqual(len(self.tail_all("g")), 10)
        self.assertEqual(self.server.stop(), 0)
        before = self.log.info()["log_id"]
        groups = os.path.join(self.log.directory, "groups")
        shutil.copytree(groups, self.directory + "/groups.kept")
        shutil.rmtree(self.log.directory)
        shutil.copytree(self.directory + "/copy", self.log.directory)
        shutil.rmtree(groups, ignore_errors=True)
        shutil.copytree(self.directory + "/groups.kept", groups)
        # Without a receiver: beyond the end.
        self.assertEqual(self.group("g")["state"], "stopped")
        self.stopped("g", "beyond the end of the log, 5")
        # The receiver begins a new id, so that no id names two messages.
        self.server.start()
        self.assertIn("put back from an older copy", self.server.stderr())
        del self.sent[5:]
        self.send(8)
        records = self.log.records()
        after = self.log.info()["log_id"]
        self.assertNotEqual(before, after)
        self.assertEqual([r["id"] for r in records],
                         [f"{before if i < 5 else after}_{i}" for i in range(13)])
        self.assertEqual(self.group("g")["state"], "foreign-log")
        self.stopped("g", "is of another log than this one")

    def test_renew_id(self):
        self.send(3)
        self.assertEqual(len(self.tail_all("g")), 3)
        before = self.log.info()["log_id"]
        done = self.log.run("renew-id", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"another process", done.stderr)
        self.assertEqual(self.server.stop(), 0)
        done = self.log.run("renew-id", "--json")
        after = json.loads(done.stdout)["log_id"]
        self.assertEqual(json.loads(done.stdout)["before"], before)
        self.assertEqual(self.log.info()["log_id"], after)
        self.server.start()
        self.send(2)
        self.assertEqual([r["id"] for r in self.log.records()],
                         [f"{before}_{i}" for i in range(3)] + [f"{after}_{i}" for i in (3, 4)])
        # What the group had done are records of this log: it goes on.
        self.assertEqual([r["offset"] for r in self.tail_all("g")], [3, 4])

    def test_a_damaged_cursor_begins_again_and_says_so(self):
        self.send(4)
        self.assertEqual(len(self.tail_all("g")), 4)
        with open(self.cursor("g"), "r+b") as file:
            file.write(bytes(8192))
        facts = self.group("g")
        self.assertEqual((facts["current"], facts["holds"], facts["state"]), (0, True, "stopped"))
        self.assertIn("damaged", facts["error"])
        tail = self.tail("g")
        self.assertEqual([r["offset"] for r in tail.lines(4)], [0, 1, 2, 3])
        self.assertEqual(tail.end(), 0)
        self.assertIn("the cursor of group g is damaged", tail.stderr())
        self.assertIsNone(self.group("g")["error"])


class Exports(GroupCase):
    def test_export_for_a_group(self):
        self.send(4)
        out = os.path.join(self.directory, "mail")
        for there, count in ((4, 4), (4, 0)):
            done = self.log.run("export", "--format", "maildir", "--out", out, "--group", "x",
                                "--json")
            self.assertEqual(json.loads(done.stdout)["records"], count)
            self.assertEqual(len(os.listdir(out + "/new")), there)
        self.send(2)
        # What cannot be stored is not committed.
        done = self.log.run("export", "--format", "mbox", "--out", "/nowhere/box", "--group", "x",
                            check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.group("x")["current"], 4)
        self.log.run("export", "--format", "maildir", "--out", out, "--group", "x")
        self.assertEqual(len(os.listdir(out + "/new")), 6)
        self.assertEqual(self.group("x")["current"], 6)


class Retention(GroupCase):
    """Against a group whose reader has stopped."""

    def start(self, hold_bytes, full):
        self.assertEqual(self.server.stop(), 0)
        self.server.config["log"]["retain_bytes"] = "6MiB"
        self.server.config["listen"]["admin"] = "127.0.0.1:0"
        self.server.config["groups"] = {"hold_bytes": hold_bytes, "on_hold_full": full}
        self.server.start()

    def send_until_refused(self, most=120):
        for i in range(most):
            with Wire(self.server.address) as wire:
                wire.hello()
                answer = wire.message(sample_message(400_000))
                if not answer.startswith("250"):
                    return answer
                self.sent.append(answer)
            time.sleep(0.02)
        return None

    def metric(self, name, group):
        text = self.server.http("/metrics")
        (value,) = [l.split()[-1] for l in text.splitlines()
                    if l.startswith(f'mxring_group_{name}{{group="{group}"}}')]
        return float(value)

    def test_refuse_and_recovery(self):
        self.start("12MiB", "refuse")
        self.send(1)
        self.groups("create", "g")
        answer = self.send_until_refused()
        self.assertEqual((answer or "never refused")[:9], "452 4.3.1")
        self.assertEqual(self.log.info()["first"], 0)
        self.assertEqual(self.metric("lag_records", "g"), len(self.sent))
        self.assertGreater(self.metric("lag_bytes", "g"), 12 << 20)
        self.assertGreater(self.metric("lag_seconds", "g"), 0)
        said = self.server.stderr()
        self.assertIn("for group g, which stands at offset 0", said)
        self.assertIn("more than groups.hold_bytes allows", said)
        # A reader goes on: retention does too, and mail is taken again.
        tail = self.tail("g")
        self.assertEqual([r["offset"] for r in tail.lines(len(self.sent))],
                         list(range(len(self.sent))))
        self.assertEqual(tail.end(), 0)
        mxtest.wait_until(lambda: self.log.info()["first"] > 0, 10, "retention goes on")

        def accepted():
            with Wire(self.server.address) as wire:
                wire.hello()
                return wire.message(sample_message()).startswith("250")
        mxtest.wait_until(accepted, 10, "mail is accepted again")
        self.assertEqual(self.metric("dropped_total", "g"), 0)
        self.assertEqual(self.server.stop(), 0)

    def test_release_frees_it(self):
        self.start("12MiB", "refuse")
        self.send(1)
        self.groups("create", "g")
        self.assertIsNotNone(self.send_until_refused())
        self.groups("release", "g")
        mxtest.wait_until(lambda: self.log.info()["first"] > 0, 10, "retention goes on")

    def test_drop(self):
        self.start("12MiB", "drop")
        self.send(1)
        self.groups("create", "g")
        self.assertIsNone(self.send_until_refused(90))
        time.sleep(2.2)  # what is over goes within a second, and is counted then
        first = self.log.info()["first"]
        self.assertGreater(first, 0)
        self.assertEqual(self.metric("dropped_total", "g"), first)
        tail = self.tail("g")
        self.assertEqual(tail.line(), {"gap": {"first": 0, "next": first, "why": "removed"}})
        self.assertEqual(tail.line()["offset"], first)
        self.assertEqual(tail.end(), 0)
        self.assertEqual(self.server.stop(), 0)
        self.assertIn("although groups had not dealt with it", self.server.stderr())


class Finding(GroupCase):
    def find(self, *args):
        return [r["offset"] for r in map(json.loads, self.log.run(
            "find", *args, "--json").stdout.splitlines())]

    def test_find(self):
        with Wire(self.server.address) as wire:
            wire.hello()
            for i in range(300):
                sender = "" if i % 100 == 7 else f"s{i % 10}@from{i % 3}.test"
                answer = wire.message(sample_message(20_000 if i % 50 == 3 else 300, f"mark{i}"),
                                      sender, [f"r{i % 7}@mx.test", f"Other{i}@To.test"])
                self.assertEqual(answer, f"250 2.0.0 Ok {i}")
        records = self.log.records()
        everything = list(range(300))
        self.assertEqual(self.find(), everything)
        self.assertEqual(self.find("--recipient", "R3@MX.test"),
                         [i for i in everything if i % 7 == 3])
        self.assertEqual(self.find("--recipient", "other17@to.test"), [17])
        self.assertEqual(self.find("--recipient", "@to.test"), everything)
        self.assertEqual(self.find("--sender", "s4@from1.test", "--recipient", "r4@mx.test"),
                         [i for i in everything if i % 100 != 7 and i % 10 == 4 and i % 3 == 1
                          and i % 7 == 4])
        self.assertEqual(self.find("--sender", "<>"), [7, 107, 207])
        self.assertEqual(self.find("--header-from", "alice@client.test"), everything)
        self.assertEqual(self.find("--header-from", "nobody@client.test"), [])
        for i in (0, 53, 299):
            record = records[i]
            self.assertEqual(record["message_id"], f"<mark{i}.{os.getpid()}@client.test>")
            self.assertEqual((record["subject"], record["from"]),
                             (f"mark{i}", "alice@client.test"))
            self.assertIn(f" id {record['queue_id']}".encode(), self.log.delivered(i))
            for args in (("--message-id", record["message_id"]),
                         ("--message-id", record["message_id"][1:-1]), ("--id", record["id"]),
                         ("--id", i), ("--id", record["queue_id"])):
                self.assertEqual(self.find(*args), [i], args)
        self.assertEqual(self.find("--id", "0" * 32 + "_5"), [])
        self.assertEqual(self.find("--client", "127.0.0.0/8"), everything)
        self.assertEqual(self.find("--client", "127.0.0.2"), [])
        self.assertEqual(self.find("--disposition", "quarantine"), [])
        times = [r["received_at"] for r in records]
        self.assertEqual(self.find("--since", times[100], "--until", times[200]),
                         [i for i in everything if times[100] <= times[i] < times[200]])
        self.assertEqual(self.log.run("find", "--client", "x", check=False).returncode, 2)

    def test_find_in_an_older_log(self):
        golden = os.path.join(os.path.dirname(__file__), "..", "corpus", "log_format_1", "sealed")
        shutil.copytree(golden, self.directory + "/old")
        self.log = Log(self.directory + "/old")
        self.assertEqual(self.find("--message-id", "two@example.org"), [1])
        self.assertEqual(self.find("--message-id", "folded@example.org"), [4])
        self.assertEqual(self.find("--header-from", "alice@example.org"), [0, 1, 4])
        self.assertEqual(self.find("--disposition", "reject"), [2])
        self.assertEqual(self.find("--refused", "--sender", "x@bad.example"), [2])
        self.assertEqual(self.find("--sender", "x@bad.example"), [])
        queue_id = self.log.records("--from", 3)[0]["queue_id"]
        self.assertEqual(self.find("--id", queue_id), [3])


if __name__ == "__main__":
    mxtest.main()
