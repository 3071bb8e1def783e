"""mxringlog on logs at rest: against the C++ reader, against damage, rule by rule."""

import contextlib
import datetime
import fcntl
import json
import os
import random
import re
import shutil
import struct

import mxtest
from mxtest import BINARY, Log, Wire, sample_message
from python_log import GOLDEN, Case, copy_log, split, worked_example

import mxringlog  # python_log has put it where it is found
from mxringlog._crc import by_table, choose


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
        kind = self.random.choice(("flip", "flip", "flips", "noise", "zeros", "cut", "header",
                                   "tail", "state", "nostate", "index", "swap"))
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


if __name__ == "__main__":
    mxtest.main()
