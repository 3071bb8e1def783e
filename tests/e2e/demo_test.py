#!/usr/bin/env python3
"""The sums of bench/demo.py, with invented results."""

import argparse
import collections
import contextlib
import io
import os
import sys

import mxtest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
import demo


def results_of(each):
    """Everything as it should be."""
    results = {}
    counts = collections.Counter()
    for domain in demo.DOMAINS:
        for signed in demo.KINDS:
            verdict, disposition = demo.wanted(domain, signed)
            refused = disposition == "reject"
            results[domain, signed] = {
                "sent": each, "accepted": 0 if refused else each, "lost": 0, "losses": [],
                "rejected": [{"code": 550, "count": each, "text": "5.7.26 DMARC"}] * refused}
            counts[domain, verdict, disposition] += each
    return results, counts


class Sums(mxtest.TestCase):
    def add_up(self, results, counts):
        shown = demo.Demo(argparse.Namespace(binary="", seconds=10, rate=50), self.directory)
        shown.counts = counts
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            shown.show(False, final=True)
            good = shown.add_up(results)
        return good, out.getvalue()

    def test_all_as_it_should_be(self):
        good, text = self.add_up(*results_of(500))
        self.assertTrue(good, text)
        self.assertNotIn(" of 500", text)
        self.assertRegex(text, r"bank.example +reject +500 +500 +refused, 550 5.7.26\n")

    def test_every_other_message_is_explained(self):
        results, counts = results_of(500)
        bank = results["bank.example", True]
        bank["accepted"] = 284
        bank["rejected"] = [{"code": 452, "count": 200, "text": "4.3.1 Try later"}]
        bank["lost"] = 16
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
        results, counts = results_of(500)
        results["shop.example", False] = None
        del counts["shop.example", "fail", "quarantine"]
        good, text = self.add_up(results, counts)
        self.assertFalse(good)
        self.assertRegex(text, r"shop.example +quarantine +500 +0 of 500 ")
        self.assertIn("the load generator failed", text)


if __name__ == "__main__":
    mxtest.main()
