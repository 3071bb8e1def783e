"""A whole server with everything going on at once, made to be run under ThreadSanitizer: mail in the
clear and over TLS, with verdicts; reloads; segments that fill and are removed; a tail that follows;
figures that are read; abuse; and the end.

    MXRING_BINARY=build/tsan/mxring MXRING_LOAD=build/release/mxring python3 races_test.py

A report of the sanitizer is on standard error and makes the server's exit code 66.
"""

import os
import signal
import subprocess
import threading
import time
import urllib.error

import abuse
import mxtest
import soak_test

SECONDS = float(os.environ.get("MXRING_RACES_SECONDS", "20"))
LOAD = os.environ.get("MXRING_LOAD", mxtest.BINARY)


class Everything(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        zone = soak_test.Zone()
        self.addCleanup(zone.close)
        self.control = os.path.join(mxtest.short_directory(self), "c")
        self.journal = os.path.join(self.directory, "journal")
        self.config = {
            "listen": {"smtp": ["127.0.0.1:0"], "smtps": ["127.0.0.1:0"], "admin": "127.0.0.1:0",
                       "control": self.control},
            "auth": {"spf": True, "dkim": True, "dmarc": True}, "shards": {"count": 2},
            "dns": {"servers": [zone.address], "timeout": "1s"},
            "journal": {"to": self.journal, "accepted": True},
            "limits": {"memory": "64MiB", "message_size": "4MiB"},
            "log": {"segment_bytes": "6MiB", "retain_bytes": "18MiB", "scrub_rate": "8MiB"}}
        self.server = self.serve(self.config, env=dict(
            os.environ, TSAN_OPTIONS="exitcode=66 halt_on_error=0 suppressions=" +
            os.path.join(mxtest.SOURCE, "tests/support/thread_sanitizer.supp")))
        self.tls_port = int(self.server.ready["smtps"].rsplit(":", 1)[1])
        self.going = True
        self.trouble = []
        self.count = self.answered = 0

    def repeat(self, action, pause):
        """A thread that does it until the end; what goes wrong is kept."""
        def run():
            while self.going and self.server.alive():
                try:
                    action()
                except Exception as error:
                    self.trouble.append(f"{action.__name__}: {error!r}")
                time.sleep(pause)
        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def figures(self):
        for path in ("/metrics", "/status", "/healthz", "/live", "/history"):
            try:
                self.server.http(path)
            except urllib.error.HTTPError:
                pass

    def reload(self):
        self.count += 1
        self.server.config["limits"]["recipients"] = 500 + self.count
        self.server.command()  # writes the file
        if self.count % 2:
            self.server.process.send_signal(signal.SIGHUP)
            asked = ["rotate"]
        else:
            asked = ["reload", "rotate", "status"]
        for what in asked:
            done = subprocess.run([LOAD, "ctl", what, "--socket", self.control], timeout=60,
                                  capture_output=True, text=True, check=False)
            if done.returncode == 0:
                self.answered += 1
            elif "answer" not in done.stderr and "time" not in done.stderr:  # so slow under TSan
                self.trouble.append(f"ctl {what}: exit {done.returncode}: {done.stderr}")

    def load(self, port, *more):
        return subprocess.Popen(
            [LOAD, "load", f"127.0.0.1:{port}", "--connections", "8", "--duration", f"{int(SECONDS)}s",
             "--rate", "150/s", "--size", "8KiB", "--mail-from", "a@good.test", *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def test_no_race_is_reported(self):
        tail = subprocess.Popen(
            [LOAD, "log", "tail", self.server.log_dir, "--group", "races", "--json", "--wait"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        followed = []
        reader = threading.Thread(
            target=lambda: [followed.append(1) for _ in tail.stdout])
        reader.start()
        threads = [self.repeat(self.figures, 0.05), self.repeat(self.reload, 0.5)]
        loads = [self.load(self.server.port), self.load(self.tls_port, "--tls", "implicit"),
                 self.load(self.server.port, "--tls", "starttls")]
        abuse.run(abuse.Target("127.0.0.1", self.server.port, self.tls_port), SECONDS, 1, each=1)
        codes = [load.wait(SECONDS + 120) for load in loads]
        self.going = False
        for thread in threads:
            thread.join()
        code = self.server.stop(timeout=120)
        tail.terminate()
        self.assertEqual(tail.wait(60), 0, tail.stderr.read())
        reader.join()
        tail.stdout.close()
        tail.stderr.close()
        said = self.server.stderr()
        self.assertNotIn("ThreadSanitizer", said)
        self.assertEqual(code, 0, said[-3000:])
        self.assertEqual(codes, [0, 0, 0])
        self.assertEqual(self.trouble, [])
        self.assertGreater(self.answered, 0)
        self.assertGreater(len(followed), 100)
        print(f"{len(followed)} messages followed, {self.count} reloads")


if __name__ == "__main__":
    mxtest.main()
