"""`mxring log serve` as the tests start and ask it."""

import http.client
import json
import os
import select
import signal
import socket
import subprocess

import mxtest
from mxtest import BINARY

TOKEN = "0123456789abcdef0123456789abcdef"


class LogServe:
    def __init__(self, test, log_dir, *args, listen="127.0.0.1:0", token=TOKEN, code=None):
        self.token = token
        self.token_file = os.path.join(test.directory, "token")
        if token:
            with open(self.token_file, "w") as out:
                out.write(f"# who may read\n{token}\n")
            args = ("--token-file", self.token_file, *args)
        self.stderr_path = os.path.join(test.directory, "log-serve.stderr")
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(
                [BINARY, "log", "serve", log_dir, "--listen", listen, *args],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
        test.addCleanup(self.kill)
        if code is None:
            line = self.line()
            if not line.startswith("ready "):
                raise AssertionError(f"no ready line but {line!r}: {self.stderr()}")
            self.address = line.split("listen=")[1].split()[0]
            if not self.address.startswith("unix:"):
                host, port = self.address.rsplit(":", 1)
                self.host, self.port = host, int(port)

    def line(self, timeout=20):
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            return ""
        return self.process.stdout.readline().decode()

    def stderr(self):
        with open(self.stderr_path, errors="replace") as text:
            return text.read()

    def stop(self, timeout=20):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def headers(self, more=None):
        return {"Authorization": f"Bearer {self.token}", **(more or {})}

    def ask(self, target, headers=None, method="GET", connection=None, token=True):
        """(status, headers in lower case, body) from Python's own client."""
        client = connection or http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            client.request(method, target, headers=self.headers(headers) if token else headers or {})
            answer = client.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            if connection is None:
                client.close()

    def records(self, query):
        status, headers, body = self.ask("/v1/records?" + query)
        if status != 200:
            raise AssertionError((status, body))
        return [json.loads(line) for line in body.splitlines()], int(headers["mx-next"])

    def error(self, target, status, code, **more):
        """That it is refused so; the error must say what to do next."""
        got, headers, body = self.ask(target, **more)
        if got != status:
            raise AssertionError(f"{target}: {got} {body!r}, not {status}")
        error = json.loads(body)["error"]
        if error["code"] != code or not error["message"] or not error["next"]:
            raise AssertionError(f"{target}: {error}, not {code}")
        return headers

    def raw(self, data, timeout=20, end=True):
        """Everything that comes back for these bytes until the end."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as wire:
            wire.sendall(data)
            if end:
                wire.shutdown(socket.SHUT_WR)
            return read_all(wire)


def read_all(wire):
    out = b""
    while True:
        try:
            chunk = wire.recv(65536)
        except ConnectionResetError:
            return out
        if not chunk:
            return out
        out += chunk


class LogServeCase(mxtest.TestCase):
    CONFIG = {"log": {"segment_bytes": "8MiB"},
              "limits": {"message_size": "4MiB", "memory": "64MiB"}}

    def setUp(self):
        super().setUp()
        self.server = self.serve(self.CONFIG)
        self.sent = 0

    def send(self, count=1, size=400):
        with mxtest.Wire(self.server.address) as wire:
            wire.hello()
            for _ in range(count):
                answer = wire.message(mxtest.sample_message(size, f"m{self.sent}"))
                self.assertEqual(answer, f"250 2.0.0 Ok {self.sent}")
                self.sent += 1
