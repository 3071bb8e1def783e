"""mxringlog, the reader in Python: against the server, against the C++ reader, and against damage."""

import contextlib
import datetime
import fcntl
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings

import mxtest
from mxtest import BINARY, Log, Wire, sample_message, wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PACKAGE = os.path.join(ROOT, "include", "python")
GOLDEN = os.path.join(ROOT, "tests", "corpus", "log_format_1")
TAKEN_FROM_THE_HEADER = ("message_id", "from", "subject", "queue_id")
sys.path.insert(0, PACKAGE)

import mxringlog  # noqa: E402
from mxringlog import Gap  # noqa: E402
from mxringlog._crc import by_table, choose  # noqa: E402


def worked_example():
    """The segment and the cursor slot that FORMAT.md shows in hexadecimal."""
    with open(os.path.join(ROOT, "src", "seglog", "FORMAT.md")) as text:
        blocks = re.findall(r"```hex\n(.*?)```", text.read(), re.S)
    images = []
    for block, size in zip(blocks, (12352, 8192)):
        image = bytearray(size)
        for at, row in re.findall(r"^([0-9a-f]{5})  ((?:[0-9a-f]{2} ){16})", block, re.M):
            image[int(at, 16):int(at, 16) + 16] = bytes.fromhex(row)
        images.append(bytes(image))
    return images


def read(path):
    with open(path) as text:
        return text.read()


def copy_log(log, place):
    """Without the socket of a server that was killed."""
    shutil.copytree(log, place, ignore=shutil.ignore_patterns("control"))


def split(entries):
    """(records, [(first, next, why)] with neighbours made one)."""
    records, gaps = [], []
    for entry in entries:
        if not isinstance(entry, Gap):
            records.append(entry)
        elif gaps and gaps[-1][1:] == (entry.first, entry.why):
            gaps[-1] = (gaps[-1][0], entry.next, entry.why)
        else:
            gaps.append(tuple(entry))
    return records, gaps


class Case(mxtest.TestCase):
    CONFIG = {"log": {"segment_bytes": "4MiB"},
              "limits": {"message_size": "1MiB", "memory": "64MiB"}}

    def start(self, **log):
        config = {**self.CONFIG, "log": {**self.CONFIG["log"], **log}}
        self.server = self.serve(config)
        self.log_dir = self.server.log_dir
        self.log = Log(self.log_dir)
        self.sent = []

    def send(self, count, size=400):
        with Wire(self.server.address) as wire:
            wire.hello()
            for _ in range(count):
                message = sample_message(size, f"m{len(self.sent)}")
                self.assertEqual(wire.message(message), f"250 2.0.0 Ok {len(self.sent)}")
                self.sent.append(message)

    def cat(self, directory):
        """What the C++ reader shows of a log at rest: (records, end)."""
        log = Log(directory)
        done = log.run("cat", "--json", "--refused", check=False)
        records = [json.loads(line) for line in done.stdout.splitlines()]
        return records, log.info()["next"]

    def agree(self, directory, what=""):
        """Both readers show the same of a log at rest; what mxringlog shows."""
        records, end = self.cat(directory)
        log = mxringlog.Log(directory)
        ours, gaps = split(log.records(refused=True))
        self.assertEqual([r["offset"] for r in records], [r.offset for r in ours], what)
        for theirs, record in zip(records, ours):
            shown = record.as_dict()
            if record.id is None:  # older than the tags of these, which log cat reads from the header
                shown.update({key: theirs[key] for key in TAKEN_FROM_THE_HEADER})
            self.assertEqual(shown, theirs, what)
        self.assertEqual(log.end, end, what)
        # Every offset is a record or in a gap, and in one of them only.
        shown = sorted([(r.offset, r.offset + 1) for r in ours] + [g[:2] for g in gaps])
        at = log.first
        for first, after in shown:
            self.assertEqual(first, at, what)
            at = after
        self.assertEqual(at, end, what)
        return ours, gaps


class Format(Case):
    def test_the_worked_segment(self):
        segment, _ = worked_example()
        with open(os.path.join(self.directory, "00000000000000000007.seg"), "wb") as file:
            file.write(segment)
        log = mxringlog.Log(self.directory)
        first, refused, last = log.records(refused=True)
        self.assertEqual((log.first, log.end), (7, 10))
        self.assertEqual(first.id, "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf_7")
        self.assertEqual(first.received_at,
                         datetime.datetime(2026, 12, 1, 0, 0, 1, tzinfo=datetime.timezone.utc))
        self.assertEqual(first.message, b"Subject: 1\r\n\r\nHi\r\n")
        self.assertEqual(first.delivered, b"X: t\r\n\r\nHi\r\n")
        self.assertEqual((first.client_ip, first.client_port, first.mail_from, first.disposition),
                         ("192.0.2.7", 25000, "a@b.example", "accept"))
        self.assertEqual(first.recipients, [("c@d.example", None, ("success",))])
        self.assertEqual((first.spf, first.dkim, first.dmarc, first.tls), (None, [], None, None))
        self.assertTrue(refused.is_refusal)
        self.assertEqual((refused.message, last.message), (b"", b"\r\nx"))
        # Refused mail is left out unless asked for, and is no gap.
        self.assertEqual([r.offset for r in log.records()], [7, 9])
        self.assertEqual([r.offset for r in log.records(8)], [9])
        self.assertEqual([r.offset for r in log.records(7, 9)], [7])
        self.assertEqual(list(log.records(10)), [])
        self.assertEqual(split(log.records(2))[1], [(2, 7, "removed")])
        with self.assertRaises(mxringlog.BeyondEnd):
            log.records(11)
        moment = first.received_at + datetime.timedelta(microseconds=1)
        self.assertEqual([r.offset for r in log.records(moment, refused=True)], [8, 9])

    def test_the_worked_cursor(self):
        segment, cursor = worked_example()
        with open(os.path.join(self.directory, "00000000000000000007.seg"), "wb") as file:
            file.write(segment)
        os.mkdir(os.path.join(self.directory, "groups"))
        path = os.path.join(self.directory, "groups", "g.cursor")
        with open(path, "wb") as file:
            file.write(cursor)
        with mxringlog.Log(self.directory).follow("g", timeout=0) as reader:
            self.assertEqual((reader.committed, [r.offset for r in reader]), (9, [9]))
            reader.commit()
        with open(path, "rb") as file:
            written = file.read()
        self.assertEqual(written[4096:], cursor[4096:])
        self.assertEqual(written[:40], b"MXRGCUR1" + (4).to_bytes(8, "little") +
                         bytes(range(0xa0, 0xb0)) + (10).to_bytes(8, "little"))

    def test_crc(self):
        name, crc = choose()
        print(f"CRC32C here: {name}")
        noise = random.Random(15).randbytes(3000)
        for function in (crc, by_table):
            self.assertEqual(function(0, b"123456789"), 0xE3069283)
            self.assertEqual(function(function(0, b"1234"), b"56789"), 0xE3069283)
        for size in (0, 1, 63, 64, 511, 512, 513, 1000, 3000):
            self.assertEqual(crc(size, noise[:size]), by_table(size, noise[:size]))

    def test_logs_of_the_format_before_ids(self):
        with open(os.path.join(GOLDEN, "expected.jsonl")) as lines:
            expected = [json.loads(line) for line in lines]
        for which in ("sealed", "unsealed"):
            place = os.path.join(self.directory, which)
            shutil.copytree(os.path.join(GOLDEN, which), place)
            records, gaps = self.agree(place)
            self.assertEqual(gaps, [])
            self.assertEqual([r.id for r in records], [None] * 5)
            for record, then in zip(records, expected):
                self.assertEqual(record.as_dict()["sha256"], then["sha256"])
            self.assertNotIn(b"forged.example", records[1].delivered)
            with mxringlog.Log(place).follow("g", timeout=0, refused=True) as reader:
                self.assertEqual([r.offset for r in reader], [0, 1, 2, 3, 4])
                reader.commit()
            # It goes on, with an id, and so does the group.
            server = self.serve(log_dir=place)
            with Wire(server.address) as wire:
                wire.hello()
                self.assertEqual(wire.message(sample_message()), "250 2.0.0 Ok 5")
            with mxringlog.Log(place).follow("g", timeout=2) as reader:
                record = next(reader)
                self.assertEqual(record.id, Log(place).info()["log_id"] + "_5")
            self.assertEqual(server.stop(), 0)


class Reading(Case):
    def test_it_agrees_with_log_cat(self):
        self.start()
        self.send(300, 20_000)  # two segments
        self.send(50)
        with Wire(self.server.address) as wire:
            wire.hello()
            for command in ("MAIL FROM:<> RET=HDRS ENVID=e+2B1 BODY=8BITMIME",
                            "RCPT TO:<x@mx.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;y@mx.test"):
                self.assertEqual(wire.ask(command)[:3], "250")
            wire.ask("DATA")
            wire.send("From: \xff@x.test\r\nSubject: \xe9\r\n\r\n.\r\n")
            self.assertEqual(wire.reply()[:3], "250")
        log = mxringlog.Log(self.log_dir)
        self.assertEqual([r.message for r in log.records(stop=350)], self.sent)
        for living in (True, False):
            if not living:
                self.assertEqual(self.server.stop(), 0)
            records, gaps = self.agree(self.log_dir)
            self.assertEqual((len(records), gaps), (351, []))
        for offset in (0, 299, 350):
            (record,) = mxringlog.Log(self.log_dir).records(offset, offset + 1)
            self.assertEqual(record.delivered, self.log.delivered(offset))
        half = records[200].received_at
        at = mxringlog.Log(self.log_dir).offset_at(half)
        self.assertEqual(at, next(r.offset for r in records if r.received_at >= half))
        self.assertEqual(mxringlog.Log(self.log_dir, library="table").checks, ("table", True))
        self.assertEqual(mxringlog.Log(self.log_dir, payloads=False).checks.payloads, False)

    def test_what_is_no_log(self):
        with self.assertRaises(mxringlog.NotALog) as caught:
            mxringlog.Log(self.directory)
        self.assertTrue(caught.exception.can_continue)
        with self.assertRaises(mxringlog.NotALog):
            mxringlog.Log(os.path.join(self.directory, "missing"))


class Damage(Case):
    """Cut and changed files: never a wrong byte, what is missing is told, and the C++ reader says
    the same."""

    ROUNDS = int(os.environ.get("MXRING_PYTHON_DAMAGE_ROUNDS", "60"))

    def setUp(self):
        super().setUp()
        self.start()
        self.send(40, 3_000)
        self.assertEqual(self.server.stop(), 0)
        self.server.start()
        self.send(30, 9_000)
        self.assertEqual(self.server.stop(), 0)
        self.server.start()
        self.send(40, 2_000)
        self.server.kill()  # the newest segment has no seal
        self.random = random.Random(int(os.environ.get("MXRING_PYTHON_DAMAGE_SEED", "15")))

    def damage(self, place):
        """Does something to the log; says what."""
        names = sorted(name for name in os.listdir(place) if name.endswith(".seg"))
        name = self.random.choice(names)
        path = os.path.join(place, name)
        with open(path, "rb") as file:
            used = len(file.read().rstrip(b"\0"))
        kind = self.random.choice(("flip", "flip", "flips", "noise", "zeros", "cut", "header", "tail",
                                   "state", "nostate", "index", "swap"))
        at = self.random.randrange(4096, used)
        if kind == "cut":
            os.truncate(path, at)
            return f"{name} cut at {at}"
        state = os.path.join(place, "state")
        if kind == "nostate" or (kind == "state" and not os.path.exists(state)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(state)
            return "no state page"
        with open(state if kind == "state" else path[:-4] + ".idx" if kind == "index" else path,
                  "r+b") as file:
            if kind in ("state", "index"):
                at = self.random.randrange(64)
            elif kind == "header":
                at = self.random.choice((8, 17, 40, 50, 2048 + 17))
            elif kind == "tail":
                at = used - self.random.randrange(1, 200)
            size = {"noise": 3_000, "zeros": 5_000, "swap": 64}.get(kind, 1)
            for _ in range(5 if kind == "flips" else 1):
                file.seek(at)
                old = file.read(size)
                file.seek(at)
                if kind == "swap":  # an earlier record's bytes, in another place
                    file.seek(4096)
                    old, new = file.read(size), None
                    file.seek(at // 16 * 16)
                    new = old
                else:
                    new = {"noise": self.random.randbytes(len(old)), "zeros": bytes(len(old))}.get(
                        kind, bytes(b ^ (1 << self.random.randrange(8)) for b in old))
                file.write(new)
                at = self.random.randrange(4096, used) if kind == "flips" else at
        return f"{name} {kind} at {at}"

    def test_both_readers_agree_on_damaged_logs(self):
        records, gaps = self.agree(self.log_dir)
        self.assertEqual([r.message for r in records], self.sent)
        self.assertEqual(gaps, [])
        missing = 0
        for round_ in range(self.ROUNDS):
            place = os.path.join(self.directory, "copy")
            copy_log(self.log_dir, place)
            what = [self.damage(place) for _ in range(self.random.choice((1, 1, 2)))]
            records, gaps = self.agree(place, f"round {round_}: {what}")
            missing += sum(after - first for first, after, _ in gaps)
            self.assertTrue(all(why == "damaged" for *_, why in gaps), what)
            for record in records:
                self.assertEqual(record.message, self.sent[record.offset], what)
            shutil.rmtree(place)
        print(f"{self.ROUNDS} damaged logs, {missing} records told as damaged")
        self.assertGreater(missing, 0)

    def test_a_missing_segment_is_a_gap(self):
        os.unlink(os.path.join(self.log_dir, f"{40:020}.seg"))
        log = mxringlog.Log(self.log_dir)
        records, gaps = split(log.records())
        self.assertEqual(gaps, [(40, 70, "damaged")])
        self.assertEqual([r.message for r in records], self.sent[:40] + self.sent[70:])
        os.unlink(os.path.join(self.log_dir, f"{0:020}.seg"))
        self.assertEqual(split(log.records(0))[1], [(0, 70, "removed")])

    def test_what_cannot_be_read_is_an_error(self):
        path = os.path.join(self.log_dir, f"{40:020}.seg")
        os.unlink(path)
        os.mkdir(path)  # opens, and cannot be read, for root as well
        with self.assertRaises(mxringlog.LogError) as caught:
            list(mxringlog.Log(self.log_dir).records())
        self.assertIn(path, str(caught.exception))

    def test_a_newer_format_is_an_error(self):
        path = os.path.join(self.log_dir, f"{0:020}.seg")
        with open(path, "r+b") as file:
            header = bytearray(file.read(64))
            header[8] = 2
            header[60:] = by_table(0, bytes(header[:60])).to_bytes(4, "little")
            for at in (0, 2048):
                file.seek(at)
                file.write(header)
        with self.assertRaises(mxringlog.UnknownVersion):
            list(mxringlog.Log(self.log_dir).records())


class Rules(Case):
    """Of a log that somebody writes: here the test holds the lock and sets the page."""

    def setUp(self):
        super().setUp()
        self.start()
        self.send(6)
        self.assertEqual(self.server.stop(), 0)
        self.state = os.path.join(self.log_dir, "state")
        with open(os.path.join(self.log_dir, f"{0:020}.seg"), "rb") as file:
            self.segment = file.read()
        self.places = [match.start() for match in re.finditer(b"mx[rs]1", self.segment)
                       if match.start() % 16 == 0]

    def page(self, durable, flags=0, sequence=2, segment=0, spoil=False):
        """A page as the writer's: `durable` records, and where the next one goes."""
        fields = struct.pack("<QQQQQ", durable, segment, self.places[min(durable, 6)],
                             int.from_bytes(self.segment[16:24], "little"), flags)
        check = by_table(0, fields) ^ spoil
        with open(self.state, "r+b") as file:
            file.write(struct.pack("<8sQ", b"MXRGSTA1", sequence) + fields +
                       struct.pack("<I", check))

    @contextlib.contextmanager
    def writer(self):
        fd = os.open(os.path.join(self.log_dir, "LOCK"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.fcntl(fd, 37, struct.pack("@hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
            yield
        finally:
            os.close(fd)

    def offsets(self, **more):
        return [r.offset for r in mxringlog.Log(self.log_dir, **more).records()]

    def test_with_a_writer_the_page_says_where_the_log_ends(self):
        self.page(3)
        self.assertEqual(self.offsets(), list(range(6)))  # without one the seal does
        with self.writer():
            self.assertEqual(self.offsets(), [0, 1, 2])
            # What lies at or after `position` is being written: it is not looked at, nor kept.
            with open(os.path.join(self.log_dir, f"{0:020}.seg"), "r+b") as file:
                file.seek(self.places[3])
                file.write(bytes(500))
                file.flush()
                reader = mxringlog.Log(self.log_dir).follow(start="earliest", timeout=0)
                self.assertEqual([r.offset for r in reader], [0, 1, 2])
                file.seek(self.places[3])
                file.write(self.segment[self.places[3]:self.places[3] + 500])
            self.page(5, sequence=4)
            self.assertEqual([r.offset for r in reader], [3, 4])
            reader.close()

    def test_while_a_writer_looks_for_the_end(self):
        for page in (lambda: self.page(6, flags=2), lambda: self.page(6, sequence=3),
                     lambda: self.page(6, spoil=True), lambda: os.truncate(self.state, 10)):
            self.page(3)
            with self.writer():
                with mxringlog.Log(self.log_dir).follow(start="earliest", timeout=0) as reader:
                    self.assertEqual([r.offset for r in reader], [0, 1, 2])
                    page()  # now nobody knows: no error, nothing new
                    self.assertEqual(list(reader), [])
                    os.truncate(self.state, 4096)
                    self.page(6)
                    self.assertEqual([r.offset for r in reader], [3, 4, 5])

    def test_a_poisoned_log_ends_at_its_durable_offset(self):
        os.truncate(os.path.join(self.log_dir, f"{0:020}.seg"), self.places[6])  # no seal
        self.page(4)
        self.assertEqual(self.offsets(), list(range(6)))
        self.page(4, flags=1)
        self.assertEqual(self.offsets(), list(range(4)))

    def test_the_torn_end_of_a_killed_writer(self):
        """Batches of several records, cut and changed near the end, with and without the page."""
        self.server.start()
        self.run_client([BINARY, "load", f"127.0.0.1:{self.server.port}", "--messages", "120",
                         "--connections", "30", "--size", "1500"])
        self.server.kill()
        name = max(n for n in os.listdir(self.log_dir) if n.endswith(".seg"))
        with open(os.path.join(self.log_dir, name), "rb") as file:
            used = len(file.read().rstrip(b"\0"))
        chance = random.Random(15)
        ends = set()
        for round_ in range(40):
            place = os.path.join(self.directory, "copy")
            copy_log(self.log_dir, place)
            if round_ % 4:
                os.unlink(os.path.join(place, "state"))
            at = chance.randrange(max(4096, used - 40_000), used)
            path = os.path.join(place, name)
            if round_ % 3 == 0:
                os.truncate(path, at)
            else:
                with open(path, "r+b") as file:
                    for _ in range(round_ % 3):
                        file.seek(at)
                        file.write(chance.randbytes(chance.choice((1, 8, 3000))))
                        at = chance.randrange(max(4096, used - 40_000), used)
            self.agree(place, f"round {round_} at {at}")
            ends.add(mxringlog.Log(place).end)
            shutil.rmtree(place)
        self.assertGreater(len(ends), 3)  # it did end in different places


class Living(Case):
    def test_while_a_server_writes_rolls_and_expires(self):
        self.start(retain_bytes="12MiB")
        log = mxringlog.Log(self.log_dir)
        quick, slow = (log.follow(start="earliest", timeout=0) for _ in range(2))
        mine, its = [], []
        for round_ in range(60):
            self.send(30, 20_000)
            mine += quick.next_batch(1000)
            its += slow.next_batch(5)  # falls behind, until what comes next has been removed
        mine += quick.next_batch(1000)
        its += slow.next_batch(5000)
        records, gaps = split(mine)
        self.assertEqual(([r.message for r in records], gaps), (self.sent, []))
        records, gaps = split(its)
        self.assertGreater(len(gaps), 0)
        self.assertTrue(all(why == "removed" for *_, why in gaps), gaps)
        missing = {o for first, after, _ in gaps for o in range(first, after)}
        self.assertEqual(sorted([r.offset for r in records] + list(missing)),
                         list(range(len(self.sent))))
        for record in records:
            self.assertEqual(record.message, self.sent[record.offset])
        quick.close()
        slow.close()

    def test_it_is_woken(self):
        self.start()
        self.send(1)
        delays, flags = [], []
        with mxringlog.Log(self.log_dir).follow(timeout=10) as reader, \
                Wire(self.server.address) as wire:
            wire.hello()
            for _ in range(40):
                thread = mxtest.threading.Thread(target=lambda: wire.message(sample_message()))
                thread.start()
                record = next(reader)
                delays.append(time.time() - record.received_at_us / 1e6)
                flags.append(reader._view.flags & 4)
                thread.join()
            self.assertIsNotNone(reader._bell._page)  # by futex
            begun = time.monotonic()
            reader._bell.wait(reader._bell.value(), reader._view, 0.3)
            self.assertGreater(time.monotonic() - begun, 0.25)  # nothing came; polling is shorter
        self.assertTrue(all(flags))
        delays.sort()
        print(f"end of data to reader: median {delays[20] * 1e3:.1f} ms")
        self.assertLess(delays[20], 0.25)  # this machine may be busy; polling alone would do as well

    def test_writer_killed_and_started_again(self):
        self.start()
        log = mxringlog.Log(self.log_dir)
        reader = log.follow(start="earliest")
        offsets = []
        for _ in range(4):
            self.send(25)
            self.server.kill()
            offsets += [entry.offset for entry in reader.next_batch(20)]
            self.server.start()
            offsets += [entry.offset for entry in reader.next_batch(20, timeout=5)]
        offsets += [entry.offset for entry in reader.next_batch(100)]
        self.assertEqual(offsets, list(range(100)))
        reader.close()

    def copy(self):
        self.assertEqual(self.server.stop(), 0)
        place = self.directory + "/copy"
        copy_log(self.log_dir, place)
        self.server.start()
        return place

    def put_back(self, place):
        self.assertEqual(self.server.stop(), 0)
        shutil.rmtree(self.log_dir)
        if place:
            shutil.copytree(place, self.log_dir)

    def test_a_log_put_back_is_noticed(self):
        self.start()
        self.send(5)
        place = self.copy()
        self.send(5)
        log = mxringlog.Log(self.log_dir)
        readers = [log.follow(start="earliest", timeout=0) for _ in range(2)]
        for reader in readers:
            self.assertEqual(len(list(reader)), 10)
        self.put_back(place)
        with self.assertRaises(mxringlog.BeyondEnd):
            next(readers[0])
        self.server.start()
        del self.sent[5:]
        self.send(8)  # longer than before: 10 is an offset again, of another message
        for reader in readers:
            with self.assertRaises(mxringlog.OtherLog):
                next(reader)
            reader.close()

    def test_a_log_made_anew_is_noticed(self):
        self.start()
        self.send(5)
        reader = mxringlog.Log(self.log_dir).follow(start="earliest", timeout=0)
        self.assertEqual(len(list(reader)), 5)
        self.put_back(None)
        with self.assertRaises(mxringlog.NotALog):
            next(reader)
        self.server.start()
        del self.sent[:]
        with self.assertRaises(mxringlog.BeyondEnd):
            next(reader)
        self.send(5)  # as many as before: there is nothing new to read, and it is another log
        with self.assertRaises(mxringlog.OtherLog):
            next(reader)
        self.send(2)
        with self.assertRaises(mxringlog.OtherLog):
            next(reader)
        reader.close()


FOLLOW = """
import sys
sys.path.insert(0, sys.argv[1])
import mxringlog
with mxringlog.Log(sys.argv[2]).follow(group="g") as reader:
    for entry in reader:
        print(entry.offset, flush=True)
        reader.commit(entry)
        print("committed", reader.committed, flush=True)
"""


class Groups(Case):
    def setUp(self):
        super().setUp()
        self.start()
        self.cursor = os.path.join(self.log_dir, "groups", "g.cursor")

    def facts(self):
        done = self.run_client([BINARY, "groups", "describe", self.log_dir, "g", "--json"])
        return json.loads(done.stdout)["groups"][0]

    def follow(self, **more):
        return mxringlog.Log(self.log_dir).follow("g", timeout=0, **more)

    def offsets(self, **more):
        with self.follow(**more) as reader:
            return [entry.offset for entry in reader]

    def test_place_and_commands(self):
        self.send(6)
        with self.follow() as reader:
            self.assertEqual([next(reader).offset for _ in range(4)], [0, 1, 2, 3])
            self.assertEqual(reader.commit(2), 2)
            facts = self.facts()
            self.assertEqual((facts["state"], facts["owner_pid"], facts["current"], facts["holds"]),
                             ("running", os.getpid(), 2, True))
            with self.assertRaises(mxringlog.GroupError):
                reader.commit(5)  # not handed over
            with self.assertRaises(mxringlog.Owned) as caught:
                self.follow()
            self.assertIn(f"(pid {os.getpid()})", str(caught.exception))
            reader.commit()
            self.assertEqual(reader.flush(), 4)
            reader.commit(1)  # behind what is on disk: nothing
        self.assertEqual((self.facts()["current"], self.facts()["state"]), (4, "idle"))
        self.assertEqual(self.offsets(), [4, 5])
        self.run_client([BINARY, "groups", "pause", self.log_dir, "g"])
        with self.assertRaises(mxringlog.Paused):
            self.follow()
        self.run_client([BINARY, "groups", "resume", self.log_dir, "g"])
        # The C++ reader and this one share a group.
        tail = subprocess.run(["timeout", "2", BINARY, "log", "tail", self.log_dir, "--group", "g",
                               "--json"], capture_output=True)
        self.assertEqual([json.loads(line)["offset"] for line in tail.stdout.splitlines()], [4, 5])
        self.assertEqual(self.offsets(), [])
        for name in ("", "a/b", "x" * 65, "\xe9"):
            with self.assertRaises(mxringlog.GroupError):
                mxringlog.Log(self.log_dir).follow(name)
        with self.assertRaises(mxringlog.GroupError):
            mxringlog.Log(self.log_dir).follow("none", create=False)
        with mxringlog.Log(self.log_dir).follow("late", start="latest", timeout=0) as late:
            self.assertEqual(list(late), [])
        self.run_client([BINARY, "groups", "describe", self.log_dir, "late"])

    def test_at_most_five_writes_a_second(self):
        self.send(50)
        with self.follow() as reader:
            generation = reader._cursor.fields.generation
            begun = time.monotonic()
            for _ in reader:
                reader.commit()
                time.sleep(0.02)
            writes = reader._cursor.fields.generation - generation
            self.assertGreaterEqual(writes, 2)
            self.assertLessEqual(writes, 5 * (time.monotonic() - begun) + 1)
            self.assertLess(time.monotonic() - begun, 6)  # and commit() does not wait for them
        self.assertEqual(self.facts()["current"], 50)

    def test_killed_again_and_again(self):
        printed = os.path.join(self.directory, "printed")
        total = 0
        for round_ in range(6):
            self.send(60)
            total += 60
            with open(printed, "ab") as out:
                process = subprocess.Popen(
                    [sys.executable, "-B", "-c", FOLLOW, PACKAGE, self.log_dir], stdout=out)
            wanted = total - 1 if round_ == 5 else total - random.Random(round_).randrange(5, 55)
            try:
                wait_until(lambda: f"\n{wanted}\n" in read(printed), 20, f"{wanted}")
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
            with open(printed, "ab") as out:
                out.write(b"killed\n")
        seen, committed, last = [], 0, -1
        with open(printed) as lines:
            for line in lines:
                word = line.split()
                if word == ["killed"]:
                    last = -1
                elif word[0] == "committed":
                    committed = max(committed, int(word[1]))
                else:
                    offset = int(word[0])
                    if last < 0:  # begins at what was committed, at the latest
                        self.assertTrue(committed <= offset <= len(seen), (committed, offset))
                    else:
                        self.assertEqual(offset, last + 1)
                    last = offset
                    if offset == len(seen):
                        seen.append(offset)
        self.assertEqual(seen, list(range(total)))

    def test_every_byte_of_the_cursor(self):
        self.send(6)
        with self.follow() as reader:
            for _ in range(3):
                next(reader)
                reader.commit()
                reader.flush()
        with open(self.cursor, "rb") as file:
            good = file.read()
        self.assertEqual(len(good), 8192)
        newest = 0 if self.generation(good, 0) > self.generation(good, 4096) else 4096

        def begins(image):
            with open(self.cursor, "r+b") as file:
                file.write(image)
                file.truncate(len(image))
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                reader = self.follow()
            place = next(reader).offset
            reader._cursor._close_fd()  # without a commit
            reader.close()
            return place, ["damaged" in str(warning.message) for warning in said]

        self.assertEqual(begins(good), (3, []))
        for at in [*range(128), *range(4096, 4224), 128, 4095, 8191]:
            image = bytearray(good)
            image[at] ^= 1 << at % 8
            # The other slot is one commit older; outside of the slots nothing counts.
            self.assertEqual(begins(image), (2 if newest <= at < newest + 128 else 3, []), at)
        for cut in (0, 60, 4096, 4096 + 127):
            image = good[:cut]
            older = 0 if cut < 128 else 3 if newest == 0 else 2
            self.assertEqual(begins(image), (older, [True] if cut < 128 else []), cut)
        for torn in range(8, 128, 8):  # half of a newer slot over the older one
            image = bytearray(good)
            image[4096 - newest:4096 - newest + torn] = good[newest:newest + torn]
            self.assertEqual(begins(image), (3, []), torn)
        image = bytearray(good)  # a good slot in the place of the other one
        slot = bytearray(good[newest:newest + 124])
        slot[8:16] = (self.generation(good, newest) + 2).to_bytes(8, "little")
        slot[32:40] = (1).to_bytes(8, "little")
        image[4096 - newest:4096 - newest + 128] = slot + by_table(0, bytes(slot)).to_bytes(
            4, "little")
        self.assertEqual(begins(image), (3, []))
        self.assertEqual(begins(bytes(8192)), (0, [True]))
        # It holds everything meanwhile, and the next commit makes it good.
        with open(self.cursor, "wb") as file:
            file.write(bytes(8192))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with self.follow() as reader:
                self.assertEqual([entry.offset for entry in reader], list(range(6)))
                reader.commit()
        facts = self.facts()
        self.assertEqual((facts["current"], facts["error"], facts["holds"]), (6, None, True))

    @staticmethod
    def generation(image, at):
        return int.from_bytes(image[at + 8:at + 16], "little")

    def test_a_cursor_of_another_log_or_beyond_the_end(self):
        self.send(4)
        self.assertEqual(self.offsets(), [0, 1, 2, 3])
        with self.follow() as reader:
            list(reader)
            reader.commit()
        self.assertEqual(self.server.stop(), 0)
        other = mxtest.Server(self.directory, self.CONFIG, log_dir=self.directory + "/other")
        self.servers.append(other)
        with Wire(other.address) as wire:
            wire.hello()
            for _ in range(9):
                wire.message(sample_message())
        os.makedirs(other.log_dir + "/groups", exist_ok=True)
        shutil.copy(self.cursor, other.log_dir + "/groups/g.cursor")
        with self.assertRaises(mxringlog.OtherLog) as caught:
            mxringlog.Log(other.log_dir).follow("g")
        self.assertIn("mxring groups reset", str(caught.exception))
        with open(self.cursor, "r+b") as file:
            image = bytearray(file.read())
            at = 0 if self.generation(image, 0) > self.generation(image, 4096) else 4096
            image[at + 32:at + 40] = (5).to_bytes(8, "little")
            image[at + 124:at + 128] = by_table(0, bytes(image[at:at + 124])).to_bytes(4, "little")
            file.seek(0)
            file.write(image)
        with self.assertRaises(mxringlog.BeyondEnd):
            self.follow()

    def test_a_folder_that_cannot_be_written(self):
        self.send(1)
        shutil.rmtree(os.path.join(self.log_dir, "groups"))
        with open(os.path.join(self.log_dir, "groups"), "w"):
            pass
        with self.assertRaises(mxringlog.GroupError):
            self.follow()
        os.unlink(os.path.join(self.log_dir, "groups"))


class Package(Case):
    def test_readme_as_printed(self):
        self.start()
        with open(os.path.join(ROOT, "README.md")) as text:
            section = text.read().split("## Programs that use the mail\n")[1].split("\n## ")[0]
        (block,) = re.findall(r"```python\n(.*?)```", section, re.S)
        program = os.path.join(self.directory, "helpdesk.py")
        with open(program, "w") as file:
            file.write(block)
        printed = os.path.join(self.directory, "printed")
        for round_ in range(2):
            self.send(10)
            with open(printed, "ab") as out:
                process = subprocess.Popen([sys.executable, "-B", program, self.log_dir],
                                           stdout=out, stderr=subprocess.PIPE,
                                           env={**os.environ, "PYTHONPATH": PACKAGE})
            last = f"_{10 * round_ + 9} "
            wait_until(lambda: last in read(printed), 20, "the last record")
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
        log_id = self.log.info()["log_id"]
        with open(printed) as lines:
            self.assertEqual([line.split()[0] for line in lines],
                             [f"{log_id}_{i}" for i in range(20)])

    def test_a_wheel_builds_offline(self):
        source = os.path.join(self.directory, "source")
        shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
        for python in (sys.executable, "/usr/bin/python3"):
            if os.path.exists(python) and subprocess.run(
                    [python, "-c", "import setuptools, wheel, pip"], capture_output=True,
                    cwd="/").returncode == 0:
                break
        else:
            self.skipTest("pip, setuptools or wheel is not installed (Debian: python3-pip, "
                          "python3-wheel)")
        environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.run_client([python, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w",
                         self.directory, source], timeout=100, env=environment)
        place = os.path.join(self.directory, "installed")
        (wheel,) = [name for name in os.listdir(self.directory) if name.endswith(".whl")]
        self.assertEqual(wheel, "mxringlog-1.0.0-py3-none-any.whl")
        self.run_client([python, "-m", "zipfile", "-e", os.path.join(self.directory, wheel), place])
        self.assertTrue(os.path.exists(os.path.join(place, "mxringlog", "py.typed")))
        segment, _ = worked_example()
        with open(os.path.join(self.directory, "00000000000000000007.seg"), "wb") as file:
            file.write(segment)
        done = self.run_client(
            [python, "-c", "import mxringlog, sys; print(mxringlog.__file__, *[r.offset for r in "
             "mxringlog.Log(sys.argv[1]).records()])", self.directory], cwd="/",
            env={**os.environ, "PYTHONPATH": place})
        self.assertEqual(done.stdout.decode().split(),
                         [os.path.join(place, "mxringlog", "__init__.py"), "7", "9"])

    def test_no_dependency_and_old_enough_a_python(self):
        """Only the standard library, and no syntax later than 3.9."""
        import ast
        if not hasattr(sys, "stdlib_module_names"):
            self.skipTest("needs Python 3.10")
        for name in sorted(os.listdir(os.path.join(PACKAGE, "mxringlog"))):
            if not name.endswith(".py"):
                continue
            with open(os.path.join(PACKAGE, "mxringlog", name)) as file:
                tree = ast.parse(file.read(), name, feature_version=(3, 9))
            for node in ast.walk(tree):
                modules = ([a.name for a in node.names] if isinstance(node, ast.Import) else
                           [node.module] if isinstance(node, ast.ImportFrom) and not node.level
                           else [])
                for module in modules:
                    if module != "crc32c":  # optional
                        self.assertIn(module.split(".")[0], sys.stdlib_module_names, name)


if __name__ == "__main__":
    mxtest.main()
