"""mxring-relay as the tests start it, and a web server that does what it is told."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import select
import signal
import subprocess
import threading
import time

import mxtest
from mxtest import BINARY, Wire, sample_message, toml

# How often a relay is killed at a random moment; a hundred times in `./run.sh soak`.
KILLS = int(os.environ.get("MXRING_KILL_ROUNDS", "8"))
RELAY = os.path.join(os.path.dirname(BINARY), "mxring-relay")


class Relay:
    """One relay, with its configuration from a dict as mxtest.toml takes it."""

    def __init__(self, test, config, name="relay", start=True, env=None):
        self.path = os.path.join(test.directory, name + ".toml")
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        self.stderr_path = os.path.join(test.directory, name + ".stderr")
        self.configure(config)
        test.addCleanup(self.kill)
        if start:
            self.start()

    def configure(self, config):
        with open(self.path, "w") as out:
            out.write(toml(config))

    def start(self, env=None, wait=True):
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(
                [RELAY, "-c", self.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=stderr, env=dict(self.env, **(env or {})))
        self.ready = {}
        if wait:
            line = self.line()
            if not line.startswith("ready "):
                raise AssertionError(f"no ready line but {line!r}: {self.stderr()}")
            self.ready = dict(part.split("=", 1) for part in line.split()[1:])
        return self

    def line(self, timeout=20):
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            return ""
        return self.process.stdout.readline().decode()

    def stderr(self):
        with open(self.stderr_path, errors="replace") as text:
            return text.read()

    def stop(self, timeout=20):
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout=20):
        code = self.process.wait(timeout)
        self.process.stdout.close()
        return code

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()
            self.process.stdout.close()


def check(test, config, name="check"):
    """`mxring-relay -t`: exit code, standard output and error."""
    path = os.path.join(test.directory, name + ".toml")
    with open(path, "w") as out:
        out.write(config if isinstance(config, str) else toml(config))
    done = subprocess.run([RELAY, "-c", path, "-t"], capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


def verify(secret, headers, body):
    """Standard Webhooks 1.0, as a receiver would check it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return wanted in headers.get("webhook-signature", "").split(" ")


class Hook:
    """A web server on loopback. `script(request, number)` decides the answer: a status, or a tuple
    (status, headers), or a function that is given the handler and does what it likes."""

    def __init__(self, test, script=None, tls=None):
        self.requests = []
        self.lock = threading.Lock()
        self.script = script or (lambda request, number: 200)
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = {"headers": {k.lower(): v for k, v in self.headers.items()},
                           "body": body, "at": time.monotonic(), "path": self.path}
                with hook.lock:
                    number = len(hook.requests)
                    hook.requests.append(request)
                answer = hook.script(request, number)
                if callable(answer):
                    answer(self)
                    return
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                request["status"] = status
                text = headers.pop("body", "")
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            disable_nagle_algorithm = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/mail"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        test.addCleanup(self.close)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def delivered(self):
        """Offsets that were answered 2xx, in the order of their arrival."""
        with self.lock:
            return [offset_of(r["headers"]["webhook-id"]) for r in self.requests
                    if 200 <= r.get("status", 0) < 300]

    def events(self):
        with self.lock:
            return [json.loads(r["body"]) for r in self.requests
                    if 200 <= r.get("status", 0) < 300]


def offset_of(record_id):
    return int(re.search(r"_(\d+)", record_id)[1])


class RelayCase(mxtest.TestCase):
    CONFIG = {"log": {"segment_bytes": "4MiB"},
              "limits": {"message_size": "1MiB", "memory": "64MiB"}}

    def setUp(self):
        super().setUp()
        if not os.path.exists(RELAY):
            self.skipTest("mxring-relay is not built")
        self.server = self.serve(self.CONFIG)
        self.sent = 0

    def send(self, count=1, size=400, recipients=("b@mx.test",), message=None, sender="a@c.test"):
        with Wire(self.server.address) as wire:
            wire.hello()
            for _ in range(count):
                data = message or sample_message(size, f"m{self.sent}")
                answer = wire.message(data, sender, recipients)
                self.assertEqual(answer, f"250 2.0.0 Ok {self.sent}")
                self.sent += 1

    def config(self, **sections):
        """A relay's configuration that retries quickly."""
        base = {"": {"group": "g", "log": self.server.log_dir},
                "retry": {"first": "50ms", "max": "200ms"}}
        for section, keys in sections.items():
            base.setdefault("" if section == "top" else section, {}).update(keys)
        return base

    def group(self, name="g"):
        done = subprocess.run([BINARY, "groups", "describe", self.server.log_dir, name, "--json"],
                              capture_output=True, timeout=30, check=True)
        (facts,) = json.loads(done.stdout)["groups"]
        return facts

    def groups(self, *args, code=0):
        done = subprocess.run([BINARY, "groups", args[0], self.server.log_dir, "g", *args[1:],
                               "--json"], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, code, (args, done.stdout, done.stderr))
        return json.loads(done.stdout) if done.stdout else None

    def committed(self, offset, seconds=20):
        mxtest.wait_until(lambda: self.group()["current"] >= offset, seconds,
                          f"the cursor reaches {offset}")
