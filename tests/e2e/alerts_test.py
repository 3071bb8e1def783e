#!/usr/bin/env python3
"""The alert rules: tried by promtool, explained by the guide, about metrics that there are."""

import json
import os
import re
import subprocess

import mxtest
from mxtest import Wire, sample_message

OBSERVE = os.path.join(mxtest.SOURCE, "tuning", "observe")


def read(name):
    with open(os.path.join(OBSERVE, name)) as text:
        return text.read()


class Rules(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        self.alerts = re.findall(r"- alert: (\w+)", read("alerts.yml"))
        self.assertGreater(len(self.alerts), 10)

    def test_each_fires_and_is_silent(self):
        promtool = self.need("promtool")
        done = subprocess.run([promtool, "test", "rules", "alerts_test.yml"], cwd=OBSERVE,
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        tried = set(re.findall(r'alertname="(\w+)"', read("alerts_test.yml")))
        self.assertEqual(tried, set(self.alerts))

    def test_the_guide_explains_each(self):
        self.assertEqual(re.findall(r"(?m)^\| (Mxring\w+) \|", read("GUIDE.md")), self.alerts)

    def test_the_dashboard_asks_what_prometheus_understands(self):
        promtool = self.need("promtool")
        rules = [{"record": f"panel:{panel['id']}:{target['refId']}",
                  "expr": target["expr"].replace("$__rate_interval", "5m")}
                 for panel in json.loads(read("dashboard.json"))["panels"]
                 for target in panel["targets"]]
        path = os.path.join(self.directory, "dashboard_rules.yml")  # JSON is YAML
        with open(path, "w") as out:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, out)
        self.run_client([promtool, "check", "rules", path])

    def test_the_metrics_exist(self):
        server = self.serve({"listen": {"smtp": ["127.0.0.1:0"], "admin": "127.0.0.1:0",
                                        "smtps": ["127.0.0.1:0"]}})
        self.run_client([mxtest.BINARY, "groups", "create", server.log_dir, "g"])
        with Wire(server.address) as wire:
            wire.hello()
            self.assertRegex(wire.message(sample_message()), "^250")
        there = set(re.findall(r"(?m)^(mxring_\w+)", server.http("/metrics")))
        there |= set(re.findall(r"(?m)^(process_\w+)", server.http("/metrics")))
        panels = json.loads(read("dashboard.json"))["panels"]
        expressions = re.findall(r"(?m)^ +expr: (.*)$", read("alerts.yml"))
        for panel in panels:
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            self.assertTrue(panel["targets"], panel["title"])
            expressions += [target["expr"] for target in panel["targets"]]
        self.assertGreater(len(expressions), 60)
        used = set(re.findall(r"\b(?:mxring|process)_\w+", " ".join(expressions)))
        self.assertEqual(used - there, set())
        for wanted in ("group_lag_seconds", "group_lag_bytes", "dns_questions_total",
                       "dmarc_results_total", "refusals_total", "commit_seconds_bucket"):
            self.assertIn("mxring_" + wanted, used)
        ids = [panel["id"] for panel in panels]
        self.assertEqual(len(set(ids)), len(ids))


if __name__ == "__main__":
    mxtest.main()
