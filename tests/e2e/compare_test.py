#!/usr/bin/env python3
"""bench/compare's reckoning: medians, units, the chart, and what a control group counts."""

import os
import subprocess
import sys
import time
from xml.etree import ElementTree

import mxtest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench",
                                "compare"))

import accounting  # noqa: E402  (found by the path above)
import results  # noqa: E402
import zone  # noqa: E402


def figures(cpu_us):
    return {"cpu_us": cpu_us, "rate": 1e6 / cpu_us, "memory": 2**20}


DESCRIBED = {"null sink": ("discard", "the unit"), "mxring, verifying": ("verify", "all of it"),
             "A & <B>": ("store", "")}


class Results(mxtest.TestCase):
    def rows(self):
        rounds = {10: {"null sink": [figures(20), figures(10), figures(40)],
                       "mxring, verifying": [figures(50), figures(60)],
                       "A & <B>": [figures(4000)], "nothing": []}}
        return results.summary(rounds, DESCRIBED)

    def test_medians_in_units_of_the_null_sink(self):
        rows = {row["server"]: row for row in self.rows()}
        self.assertNotIn("nothing", rows)
        self.assertEqual(rows["null sink"]["cpu_us_per_message"],
                         {"median": 20, "min": 10, "max": 40})
        self.assertEqual(rows["null sink"]["ratio_to_null_sink"], 1)
        self.assertEqual(rows["mxring, verifying"]["ratio_to_null_sink"], 55 / 20)
        without = results.summary({10: {"A & <B>": [figures(7)]}}, DESCRIBED)
        self.assertIsNone(without[0]["ratio_to_null_sink"])

    def test_chart_is_well_formed(self):
        svg = results.chart(self.rows(), "a < b & c", "sub")
        root = ElementTree.fromstring(svg)
        space = "{http://www.w3.org/2000/svg}"
        self.assertEqual(len(root.findall(space + "circle")), 3)
        texts = [text.text for text in root.findall(space + "text")]
        self.assertIn("A & <B>", texts)
        self.assertIn("verified before 250", texts)
        width, height = float(root.get("width")), float(root.get("height"))
        for circle in root.findall(space + "circle"):
            self.assertTrue(0 < float(circle.get("cx")) < width)
            self.assertTrue(0 < float(circle.get("cy")) < height)

    def test_account_counts_children_that_have_ended(self):
        burn = ("import os, time\n"
                "if os.fork() == 0:\n"
                "    begin = time.process_time()\n"
                "    while time.process_time() - begin < 0.4: pass\n"
                "    os._exit(0)\n"
                "os.wait()\n"
                "print('done', flush=True)\n"
                "time.sleep(60)\n")
        account = accounting.Account("test")
        process = subprocess.Popen([sys.executable, "-c", burn], stdout=subprocess.PIPE,
                                   preexec_fn=account.enter)
        account.root = process.pid
        try:
            process.stdout.readline()
            self.assertAlmostEqual(account.cpu_seconds(), 0.45, delta=0.25)
            self.assertGreater(account.memory_bytes(), 2**20)
            self.assertEqual(account.processes(), [process.pid])
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            begin = time.monotonic()
            account.end()
            self.assertLess(time.monotonic() - begin, 4)


class Zone(mxtest.TestCase):
    def test_long_records_are_cut_into_strings(self):
        self.assertEqual(zone.quoted("abc"), '"abc"')
        parts = zone.quoted("x" * 600).split(" ")
        self.assertEqual("".join(part.strip('"') for part in parts), "x" * 600)
        self.assertTrue(all(len(part) <= 257 for part in parts))


if __name__ == "__main__":
    mxtest.main()
