"""Programs that use the mail: what README prints, as printed, and consumer.h on a living log."""

import os
import re
import shutil
import signal
import subprocess
import time

import mxtest
from mxtest import BINARY, Log, Wire, sample_message

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
BUILD = os.path.dirname(BINARY)


def read(path):
    if not os.path.exists(path):
        return ""
    with open(path) as text:
        return text.read()


def readme_blocks(language):
    with open(os.path.join(ROOT, "README.md")) as text:
        section = text.read().split("## Programs that use the mail\n")[1].split("\n## ")[0]
    return re.findall(r"```" + language + r"\n(.*?)```", section, re.S)


class Case(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        self.log_dir = os.path.join(self.directory, "mxring-log")
        self.server = self.serve({"log": {"segment_bytes": "4MiB"},
                                  "limits": {"message_size": "1MiB", "memory": "64MiB"}},
                                 log_dir=self.log_dir)
        self.log = Log(self.log_dir)

    def send(self, count):
        with Wire(self.server.address) as wire:
            wire.hello()
            for _ in range(count):
                self.assertTrue(wire.message(sample_message()).startswith("250 "))

    def build(self, source, name):
        """A program of someone else, against the installed package, by pkg-config."""
        pkg_config = self.need("pkg-config")
        compiler = self.need("c++")
        if not os.path.exists(os.path.join(BUILD, "src/seglog/libmxring_consumer.a")):
            self.skipTest("the consumer library has not been built")
        prefix = os.path.join(self.directory, "prefix")
        self.run_client(["cmake", "--install", BUILD, "--component", "reader", "--prefix", prefix])
        places = [where for where, _, files in os.walk(prefix) if "mxring.pc" in files]
        flags = self.run_client([pkg_config, "--cflags", "--libs", "mxring"],
                                env=dict(os.environ, PKG_CONFIG_PATH=places[0])).stdout.decode()
        with open(os.path.join(BUILD, "CMakeCache.txt")) as cache:
            sanitize = re.search(r"^MXRING_SANITIZE:\w+=(.+)$", cache.read(), re.M)
        more = [f"-fsanitize={sanitize[1]}"] if sanitize else []
        program = os.path.join(self.directory, name)
        self.run_client([compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", source, "-o",
                         program, *more, *flags.split()], timeout=120)
        return program


class Readme(Case):
    def test_shell(self):
        (block,) = [text for text in readme_blocks("sh") if "groups reset" in text]
        self.send(3)
        env = dict(os.environ, PATH=os.path.dirname(BINARY) + ":" + os.environ["PATH"])
        follow, *others = block.strip().splitlines()
        process = subprocess.Popen(["sh", "-c", "exec " + follow], cwd=self.directory, env=env)
        archive = os.path.join(self.directory, "archive.jsonl")
        mxtest.wait_until(lambda: read(archive).count("\n") == 3, 20, "three lines")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), 0)
        outputs = [self.run_client(["sh", "-c", line], cwd=self.directory, env=env).stdout.decode()
                   for line in others]
        self.assertRegex(outputs[0], r"archive +3 +3 +0 ")
        self.assertIn("from 3 to 0: 3 records", outputs[1])

    def test_cpp(self):
        (block,) = readme_blocks("cpp")
        source = os.path.join(self.directory, "tickets.cc")
        with open(source, "w") as file:
            file.write(block)
        program = self.build(source, "tickets")
        ids, printed = [], os.path.join(self.directory, "printed")
        # Killed again and again: everything arrives, in order, and repeats are what was not
        # committed.
        for round_ in range(6):
            self.send(20)
            with open(printed, "ab") as out:
                process = subprocess.Popen([program, self.log_dir], stdout=out)
            mxtest.wait_until(lambda: f"_{20 * round_ + 5} " in read(printed), 20, "lines")
            process.kill()
            process.wait()
        with open(printed, "ab") as out:
            process = subprocess.Popen([program, self.log_dir], stdout=out)
        mxtest.wait_until(lambda: "_119 " in read(printed), 20, "the last record")
        process.kill()
        process.wait()
        with open(printed) as lines:
            ids = [line.split()[0] for line in lines]
        seen = list(dict.fromkeys(ids))
        log_id = self.log.info()["log_id"]
        self.assertEqual(seen, [f"{log_id}_{i}" for i in range(120)])


class Library(Case):
    def test_batches_waiting_and_errors(self):
        program = self.build(os.path.join(ROOT, "tests/consumer/group.cc"), "group")

        def run(*args, code=0):
            done = subprocess.run([program, self.log_dir, *map(str, args)], capture_output=True,
                                  timeout=60)
            self.assertEqual(done.returncode, code, done.stderr)
            return done.stdout.decode(), done.stderr.decode()

        self.send(5)
        out, _ = run("a", 4)
        self.assertEqual([line.split()[0].split("_")[1] for line in out.splitlines()[:4]],
                         list("0123"))
        self.assertEqual(out.splitlines()[-1], "4 of 5")
        for how in ("wait", "poll"):
            # What is not there yet wakes it, at once.
            self.assertEqual(run(how, 5)[0].splitlines()[-1], "5 of 5") if how == "wait" else None
            group = "a" if how == "poll" else how
            wanted = 2 if how == "wait" else 4
            process = subprocess.Popen([program, self.log_dir, group, str(wanted), how],
                                       stdout=subprocess.PIPE)
            time.sleep(0.3)
            self.assertIsNone(process.poll())
            begun = time.monotonic()
            self.send(wanted if how == "wait" else 1)
            out = process.communicate(timeout=20)[0].decode()
            self.assertEqual(process.returncode, 0)
            self.assertLess(time.monotonic() - begun, 5)
            self.assertEqual(len(out.splitlines()), wanted + 1)
        with open(os.path.join(self.log_dir, "groups/a.cursor"), "rb") as cursor:
            good = cursor.read()
        self.assertEqual(self.server.stop(), 0)
        shutil.rmtree(self.log_dir)
        self.server.start()
        self.send(2)
        with open(os.path.join(self.log_dir, "groups/a.cursor"), "wb") as cursor:
            cursor.write(good)
        _, said = run("a", 1, code=1)
        self.assertIn("is of another log than this one", said)
        _, said = run("not a name", 1, code=1)
        self.assertIn("a group's name has", said)


if __name__ == "__main__":
    mxtest.main()
