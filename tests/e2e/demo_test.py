#!/usr/bin/env python3
"""bench/demo.py: run as a person runs it, and its sums."""

import argparse
import collections
import contextlib
import copy
import io
import json
import os
import subprocess
import sys

import mxtest

sys.path.insert(0, os.path.join(mxtest.SOURCE, "bench"))
import demo  # noqa: E402  (found by the path above)


class Run(mxtest.TestCase):
    def test_all_of_it(self):
        self.need("knotd")
        program = os.path.join(mxtest.SOURCE, "bench", "demo.py")
        # A relative path: the demo itself works in a folder of its own.
        binary = os.path.relpath(mxtest.BINARY, self.directory)
        done = subprocess.run([sys.executable, "-B", program, "--binary", binary, "--seconds", "1"],
                              cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=110, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        said = [line for line in done.stderr.splitlines() if "running as root" not in line]
        self.assertEqual(said, ["mxring: draining: transactions in progress may finish; a second "
                                "signal ends at once"])
        self.assertRegex(done.stdout, r"bank.example +reject +50 +50 +refused, 550 5.7.26\n")
        self.assertRegex(done.stdout, r"shop.example +quarantine +50 +50 +accepted, marked\n")
        self.assertRegex(done.stdout, r"news.example +none +50 +50 +accepted\n")
        self.assertRegex(done.stdout, r"\n300 messages sent, 250 accepted, 50 refused; p99 ")
        self.assertNotIn("does not add up", done.stdout)
        for part in ("One that was marked", "One that was refused", "The log:\n\n    "):
            self.assertIn(part, done.stdout)


class Sums(mxtest.TestCase):
    """What `mxring load` says is real, of a few messages; only its figures are changed."""

    @classmethod
    def setUpClass(cls):
        done = subprocess.run([mxtest.BINARY, "load", "--messages", "3", "--connections", "1",
                               "--json"], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60, check=True)
        cls.real = json.loads(done.stdout)

    def changed(self, **figures):
        result = copy.deepcopy(self.real)
        for key, value in figures.items():
            self.assertIn(key, result)
            self.assertIs(type(result[key]), type(value), key)
            result[key] = value
        return result

    def results_of(self, each):
        """Everything as it should be."""
        results = {}
        counts = collections.Counter()
        for domain in demo.DOMAINS:
            for signed in demo.KINDS:
                verdict, disposition = demo.wanted(domain, signed)
                refused = disposition == "reject"
                results[domain, signed] = self.changed(
                    sent=each, accepted=0 if refused else each,
                    rejected=[{"code": 550, "count": each, "text": "5.7.26 DMARC"}] * refused)
                counts[domain, verdict, disposition] += each
        return results, counts

    def add_up(self, results, counts):
        shown = demo.Demo(argparse.Namespace(binary="", seconds=10, rate=50), self.directory)
        shown.counts = counts
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            shown.show(False, final=True)
            good = shown.add_up(results)
        return good, out.getvalue()

    def test_all_as_it_should_be(self):
        good, text = self.add_up(*self.results_of(500))
        self.assertTrue(good, text)
        self.assertNotIn(" of 500", text)
        self.assertRegex(text, r"bank.example +reject +500 +500 +refused, 550 5.7.26\n")

    def test_every_other_message_is_explained(self):
        results, counts = self.results_of(500)
        bank = results["bank.example", True]
        bank["accepted"] = 284
        bank["rejected"] = [{"code": 452, "count": 200, "text": "4.3.1 Try later"}]
        bank["errors"] = 16
        bank["losses"] = [{"reason": "timed out", "count": 16}]
        counts["bank.example", "pass", "accept"] = 284
        counts["news.example", "temperror", "accept"] = 3
        counts["news.example", "fail", "accept"] = 497
        good, text = self.add_up(results, counts)
        self.assertFalse(good, text)
        self.assertRegex(text, r"bank.example +reject +284 of 500 +500 ")
        self.assertRegex(text, r"bank.example, genuine +200  put off: 452 4.3.1 Try later\n")
        self.assertRegex(text, r"bank.example, genuine +16  not answered: timed out\n")
        self.assertRegex(text, r"news.example +3  other verdicts: dmarc=temperror, accept\n")
        self.assertIn("This does not add up: 219 messages", text)

    def test_a_generator_that_failed(self):
        results, counts = self.results_of(500)
        results["shop.example", False] = None
        del counts["shop.example", "fail", "quarantine"]
        good, text = self.add_up(results, counts)
        self.assertFalse(good)
        self.assertRegex(text, r"shop.example +quarantine +500 +0 of 500 ")
        self.assertIn("the load generator failed", text)


if __name__ == "__main__":
    mxtest.main()
