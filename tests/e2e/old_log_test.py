"""A log of the format before there were log ids, kept as it was written. It opens, for ever."""

import json
import os
import shutil

import mxtest
from mxtest import Log, Wire, sample_message

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "corpus", "log_format_1")


class OldLog(mxtest.TestCase):
    def copy(self, which):
        place = os.path.join(self.directory, "log")
        shutil.copytree(os.path.join(GOLDEN, which), place)
        return Log(place)

    def expected(self):
        with open(os.path.join(GOLDEN, "expected.jsonl")) as lines:
            return [json.loads(line) for line in lines]

    def check(self, records):
        """They say what they said then; keys that came later are there as well."""
        self.assertEqual([r["offset"] for r in records], [0, 1, 2, 3, 4])
        for record, then in zip(records, self.expected()):
            self.assertIsNone(record["id"])
            for key, value in then.items():
                if isinstance(value, dict):
                    self.assertEqual({k: record[key][k] for k in value}, value, key)
                else:
                    self.assertEqual(record[key], value, key)

    def test_it_is_read(self):
        for which in ("sealed", "unsealed"):
            log = self.copy(which)
            self.check(log.records("--refused"))
            self.assertIsNone(log.info()["log_id"])
            self.assertEqual(log.verify(), (0, {**log.verify()[1], "ok": True, "records": 5}))
            first = log.delivered(1)
            self.assertIn(b"leave out the first field", first)
            self.assertNotIn(b"forged.example", first)
            shutil.rmtree(log.directory)

    def test_it_goes_on_and_gets_an_id_with_its_next_segment(self):
        for which in ("sealed", "unsealed"):
            log = self.copy(which)
            server = self.serve(log_dir=log.directory)
            with Wire(server.address) as wire:
                wire.hello()
                self.assertEqual(wire.message(sample_message()), "250 2.0.0 Ok 5")
            self.check(log.records("--refused", "--count", 5))
            self.assertEqual(server.stop(), 0)
            records = log.records("--refused")
            self.check(records[:5])
            identity = log.info()["log_id"]
            self.assertRegex(identity, "^[0-9a-f]{32}$")
            self.assertEqual([r["id"] for r in records], [None] * 5 + [identity + "_5"])
            # And keeps it.
            server.start()
            with Wire(server.address) as wire:
                wire.hello()
                self.assertEqual(wire.message(sample_message()), "250 2.0.0 Ok 6")
            self.assertEqual(server.stop(), 0)
            self.assertEqual(log.records("--from", 6)[0]["id"], identity + "_6")
            self.assertEqual(log.verify()[0], 0)
            shutil.rmtree(log.directory)


if __name__ == "__main__":
    mxtest.main()
