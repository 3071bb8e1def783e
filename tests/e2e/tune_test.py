#!/usr/bin/env python3
"""`mxring tune` on the machine the tests run on, and `mxring load` without a server to talk to."""

import csv
import json
import os
import re
import subprocess
from xml.etree import ElementTree

import mxtest

ROW_KEYS = {"group", "name", "verdict", "current", "wanted", "why", "fix", "persist", "undo",
            "effect", "skipped_because"}


def has_ended(pid):
    """Gone, or waiting only for a parent that asks."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class TuneTest(mxtest.TestCase):
    def mxring(self, *args, timeout=100):
        environment = dict(os.environ, TMPDIR=self.directory, COLUMNS="80")
        return subprocess.run([mxtest.BINARY, *map(str, args)], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=timeout, text=True, env=environment,
                              cwd=self.directory)


class Check(TuneTest):
    def test_this_machine(self):
        done = self.mxring("tune", "check", "--log-dir", os.path.join(self.directory, "log"),
                           "--no-resolver", "--json")
        report = json.loads(done.stdout)
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.returncode, 0 if report["ok"] else 1)
        self.assertEqual(sum(report["counts"].values()), len(report["rows"]))
        self.assertGreater(len(report["rows"]), 30)
        for row in report["rows"]:
            self.assertEqual(set(row), ROW_KEYS)
            self.assertIn(row["verdict"], ("ok", "advice", "problem", "skipped"))
            self.assertEqual(row["verdict"] == "skipped", row["skipped_because"] != "", row)
        # The tests themselves could not run without a ring here.
        rows = {row["name"]: row for row in report["rows"]}
        self.assertEqual(rows["io_uring"]["verdict"], "ok")
        self.assertIn("measured", rows["clock source"]["effect"])
        self.assertEqual(os.listdir(self.directory), [])

    def test_files_are_counted_as_the_server_counts_them(self):
        # The default number of connections: taken as it fits, and not worth a word each time.
        files = ["sh", "-c", 'ulimit -n 20000 && exec "$@"', "sh"]
        server = self.serve(prefix=files)
        self.assertNotIn("warning", server.stderr())
        self.assertEqual(server.stop(), 0)
        server = self.serve({"limits": {"connections": 20000}}, prefix=files)
        said = re.search(r'connections is (\d+) instead of 20000.*"ulimit -Hn (\d+)"',
                         server.stderr())
        self.assertTrue(said, server.stderr())
        self.assertEqual(server.stop(), 0)
        check = subprocess.run(
            [*files, mxtest.BINARY, "tune", "check", "-c",
             os.path.join(self.directory, "mxring.toml"), "--no-resolver", "--no-disk", "--json"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=100, cwd=self.directory)
        self.assertIn(check.returncode, (0, 1), check.stderr)
        row = {row["name"]: row for row in json.loads(check.stdout)["rows"]}["open files"]
        self.assertEqual(row["persist"], f"LimitNOFILE={said[2]} in the unit")
        self.assertIn(f"room for {said[1]} connections of 20000", row["effect"])

    def test_table(self):
        done = self.mxring("tune", "check", "--no-resolver", "--no-disk")
        self.assertIn(done.returncode, (0, 1), done.stderr)
        lines = done.stdout.splitlines()
        self.assertTrue(any(line.startswith("ok       io_uring ") for line in lines), done.stdout)
        self.assertRegex(done.stdout, r"\n\d+ problems?, \d+ (piece|pieces) of advice, ")
        self.assertNotIn("…", done.stdout)  # nothing is cut when nobody looks
        self.assertIn("  commits: not asked for (--no-disk)", lines)
        self.assertNotIn("\x1b", done.stdout)

    def test_what_breaks_the_promise_is_a_failure(self):
        if not os.path.isdir("/dev/shm"):
            self.skipTest("no /dev/shm here")
        done = self.mxring("tune", "check", "--log-dir", "/dev/shm/mxring-tune-test",
                           "--no-resolver", "--no-disk", "--json")
        rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
        self.assertEqual(rows["file system of the log"]["verdict"], "problem")
        self.assertEqual(rows["file system of the log"]["current"], "tmpfs")
        self.assertEqual(done.returncode, 1)
        self.assertFalse(os.path.exists("/dev/shm/mxring-tune-test"))

    def test_a_silent_resolver_is_said(self):
        done = self.mxring("tune", "check", "--no-disk", "--json", "--timeout", "300ms",
                           "--resolver", f"127.0.0.1:{mxtest.free_port()}")
        rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
        self.assertEqual(rows["resolver round trip"]["verdict"], "advice")

    def test_mistakes(self):
        self.assertEqual(self.mxring("tune").returncode, 2)
        self.assertEqual(self.mxring("tune", "chek").returncode, 2)
        self.assertEqual(self.mxring("tune", "check", "--resolver", "x").returncode, 2)
        file = os.path.join(self.directory, "bad.toml")
        with open(file, "w") as out:
            out.write("[log]\ndirr = 1\n")
        done = self.mxring("tune", "check", "-c", file)
        self.assertEqual(done.returncode, 78)
        self.assertIn("did you mean", done.stderr)


class Sweep(TuneTest):
    def sweep(self, *args, timeout=110):
        return self.mxring("tune", "sweep", "--out", "out", "--log-dir", self.directory,
                           "--connections", 16, *args, timeout=timeout)

    def test_a_short_one(self):
        done = self.sweep("--time", "30s", "--only", "shards.pin", "--only", "log.commit_window",
                          "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"^mxring: \d+ variants? of [12] settings? fit into 30s, "
                                      r"about \d+ rounds; Ctrl-C ends it")
        result = json.loads(done.stdout)
        self.assertLess(result["seconds"], 60)
        self.assertGreater(result["current"]["rate"], 0)
        self.assertTrue(result["variants"])
        for variant in result["variants"]:
            self.assertIn(variant["finding"], ("better", "worse", "noise", "at a cost",
                                                 "not judged", "failed"))
            self.assertGreaterEqual(variant["rounds"], 3, variant)
            self.assertLessEqual(variant["cpu"]["low"], variant["cpu"]["ratio"])
            self.assertLessEqual(variant["cpu"]["ratio"], variant["cpu"]["high"])
        if not result["recommended"]:
            self.assertIn("keep the default", result["advice"])
        self.check_files(bool(result["recommended"]))

    def check_files(self, recommended):
        out = os.path.join(self.directory, "out")
        self.assertEqual(set(os.listdir(out)), {"sweep.csv", "p99.svg"} |
                         ({"recommended.toml"} if recommended else set()))
        self.assertEqual(os.listdir(self.directory), ["out"])  # no server's folder is left
        root = ElementTree.parse(os.path.join(out, "p99.svg")).getroot()
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        self.assertGreaterEqual(len(root.findall("{http://www.w3.org/2000/svg}circle")), 3)
        with open(os.path.join(out, "sweep.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertGreaterEqual({row["part"] for row in rows}, {"screen", "chart"})
        self.assertTrue(all(float(row["cpu_us"]) > 0 for row in rows))
        if recommended:
            done = self.mxring("serve", "-t", "-c", os.path.join(out, "recommended.toml"))
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_mistakes(self):
        for args, text in ((("--only", "shards.pinn"), "did you mean shards.pin?"),
                           (("--try", "log.dirr=1"), "no such key"),
                           (("--try", "shards.buffer_bytes=100KiB"), "power of two"),
                           (("--time", "soon"), "not a duration"),
                           (("--time", "5s"), "--time 5s is too short for one measurement; "
                                              "give 60s or more")):
            done = self.sweep(*args)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(text, done.stderr)


class Profiles(TuneTest):
    """What tuning/ offers must be accepted by the program it is for."""

    FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tuning")

    def test_each_is_a_configuration(self):
        folder = os.path.join(self.FOLDER, "profiles")
        self.assertGreaterEqual(len(os.listdir(folder)), 4)
        for name in os.listdir(folder):
            done = self.mxring("serve", "-t", "-c", os.path.join(folder, name))
            self.assertEqual(done.returncode, 0, f"{name}: {done.stderr}")

    def test_kernel_settings_are_those_the_check_asks_for(self):
        with open(os.path.join(self.FOLDER, "60-mxring.conf")) as file:
            settings = dict(line.split(" = ") for line in file.read().splitlines()
                            if line and not line.startswith("#"))
        done = self.mxring("tune", "check", "--no-resolver", "--no-disk", "--json")
        rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
        for key in ("net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_rmem"):
            self.assertIn(settings[key].split()[-1], rows[key]["wanted"], key)


class LoadAlone(TuneTest):
    def test_without_an_address_a_receiver_is_started(self):
        done = self.mxring("load", "--messages", 500, "--connections", 8, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        results = json.loads(done.stdout)
        self.assertEqual((results["sent"], results["accepted"]), (500, 500))
        self.assertGreater(results["cpu_us_per_message"]["server"], 0)
        self.assertIn("a receiver is started for this run on 127.0.0.1:", done.stderr)
        self.assertEqual(os.listdir(self.directory), [])

    def test_its_end_is_the_receivers_too(self):
        environment = dict(os.environ, TMPDIR=self.directory)
        with subprocess.Popen([mxtest.BINARY, "load", "--duration", "60s"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              env=environment) as load:
            self.assertIn("a receiver is started", load.stderr.readline())
            with open(f"/proc/{load.pid}/task/{load.pid}/children") as children:
                server = int(children.read().split()[0])
            load.kill()
            load.wait(10)
        mxtest.wait_until(lambda: has_ended(server), 20, "the receiver has ended too")


del TuneTest


if __name__ == "__main__":
    mxtest.main()
