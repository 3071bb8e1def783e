"""Support for tests that drive the real mxring binary.

A test file defines unittest classes and ends with `mxtest.main()`. ctest runs one entry for each
class: `python3 delivery_test.py Swaks`. A class whose tests were all skipped exits with 77, which
ctest counts as skipped; the reasons are printed.

Environment (set by CMake): MXRING_BINARY, MXRING_E2E_DIR (scratch, in the build tree on a real
file system), MXRING_NODE (where nodemailer was installed).

Everything listens on loopback, on ports the kernel chose, and is ended by its process id.
"""

import contextlib
import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

BINARY = os.environ.get("MXRING_BINARY", "mxring")
SCRATCH = os.environ.get("MXRING_E2E_DIR", "/var/tmp/mxring-e2e")
NODE_DIR = os.environ.get("MXRING_NODE", "")
SKIPPED = 77
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_program(name, *places):
    """Full path of a program, or None. /usr/sbin is looked at too."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return shutil.which(name, path=path) or next((p for p in places if os.path.exists(p)), None)


def wait_until(condition, seconds, what):
    """Polls until the condition gives something true; that value, or a failure that says what."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def short_directory(test):
    """A directory for sockets, whose names have 108 bytes at most; removed with the test."""
    path = tempfile.mkdtemp(prefix="mxring-", dir="/var/tmp")
    test.addCleanup(shutil.rmtree, path, ignore_errors=True)
    return path


def connect_unix(link, path):
    """Connects this AF_UNIX socket, however long the path is."""
    directory = os.open(os.path.dirname(path), os.O_PATH)
    try:
        link.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)


def unverified():
    """A TLS context for servers whose certificate nobody vouches for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def toml(tables):
    """A TOML text from {"section": {"key": value}}; top-level keys under ""."""
    def literal(value):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (int, float)):
            return str(value)
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k} = {literal(v)}" for k, v in value.items()) + "}"
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(literal(v) for v in value) + "]"
        return json.dumps(value)

    text = "".join(f"{k} = {literal(v)}\n" for k, v in tables.get("", {}).items())
    for section, keys in tables.items():
        if section:
            text += f"[{section}]\n" + "".join(f"{k} = {literal(v)}\n" for k, v in keys.items())
    return text


class Server:
    """`mxring serve` on a free port, with a log directory of its own."""

    def __init__(self, directory, config=None, args=(), log_dir=None, start=True, env=None,
                 prefix=(), stderr=None, preexec=None, pass_fds=()):
        self.directory = directory
        self.log_dir = log_dir or os.path.join(directory, "log")
        self.config = {k: dict(v) for k, v in (config or {}).items()}
        self.config.setdefault("listen", {}).setdefault("smtp", ["127.0.0.1:0"])
        self.config.setdefault("", {}).setdefault("hostname", "mx.test")
        # A machine with a nearly full disk still runs the tests.
        limits = self.config.setdefault("limits", {})
        limits.setdefault("disk_reserve_percent", 0)
        limits.setdefault("disk_reserve_segments", 1)
        # Tests ask no resolver outside.
        for method in ("spf", "dkim", "dmarc"):
            self.config.setdefault("auth", {}).setdefault(method, False)
        log = self.config.setdefault("log", {})
        log.setdefault("segment_bytes", "32MiB")
        self.args = list(args)
        self.env = env
        self.preexec = preexec
        self.stderr_fd = stderr  # instead of a file
        self.pass_fds = list(pass_fds)
        self.prefix = list(prefix)  # a command that ends by executing its arguments
        self.process = None
        self.ready = {}
        if start:
            self.start()

    def command(self):
        file = os.path.join(self.directory, "mxring.toml")
        with open(file, "w") as out:
            out.write(toml(self.config))
        return [*self.prefix, BINARY, "serve", "-c", file, "--log-dir", self.log_dir, *self.args]

    def start(self, timeout=30):
        self.stderr_path = os.path.join(self.directory, "serve.stderr")
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=stderr if self.stderr_fd is None else self.stderr_fd, env=self.env,
                preexec_fn=self.preexec, pass_fds=self.pass_fds)
        self.output = b""
        line = self._read_until(b"\n", timeout).split("\n")[0]
        if not line.startswith("ready "):
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no ready line but {line!r}; {self.stderr()}")
        self.ready = dict(part.split("=", 1) for part in line.split()[1:])
        host, port = self.ready["smtp"].rsplit(":", 1)
        self.address = (host.strip("[]"), int(port))
        self.port = int(port)
        return self

    def _read_until(self, end_mark, timeout):
        """Standard output since the start, which has the mark in it unless the time was up."""
        end = time.monotonic() + timeout
        while end_mark not in self.output:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                break
            chunk = os.read(self.process.stdout.fileno(), 4096)
            if not chunk:
                break
            self.output += chunk
        return self.output.decode()

    def output_until(self, text, timeout=30):
        return self._read_until(text.encode(), timeout)

    def stderr(self):
        with open(self.stderr_path, "rb") as text:
            return text.read().decode(errors="replace")

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=60):
        code = self.process.wait(timeout)
        self.process.stdout.close()
        return code

    def stop(self, timeout=60):
        """Drains it; its exit code."""
        if self.alive():
            self.terminate()
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def memory_bytes(self):
        """What the process itself occupies: anonymous and locked pages, not the log's files."""
        fields = {}
        with open(f"/proc/{self.pid}/smaps_rollup") as rollup:
            for line in rollup:
                match = re.match(r"(\w+):\s+(\d+) kB", line)
                if match:
                    fields[match[1]] = int(match[2]) * 1024
        return fields["Rss"] - fields.get("Shared_Clean", 0) - fields.get("Private_Clean", 0)

    def http(self, path):
        with urllib.request.urlopen(f"http://{self.ready['admin']}{path}", timeout=10) as answer:
            return answer.read().decode()


class Log:
    """The log commands, as another program would use them."""

    def __init__(self, directory):
        self.directory = directory

    def run(self, *args, check=True, timeout=120):
        command, *rest = args
        done = subprocess.run([BINARY, "log", command, self.directory, *map(str, rest)],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{args}: exit {done.returncode}: {done.stderr.decode()}")
        return done

    def records(self, *args):
        return [json.loads(line) for line in self.run("cat", "--json", *args).stdout.splitlines()]

    def as_received(self, offset):
        return self.run("cat", "--as-received", "--from", offset, "--count", 1).stdout

    def delivered(self, offset):
        return self.run("cat", "--raw", "--from", offset, "--count", 1).stdout

    def info(self):
        return json.loads(self.run("info", "--json").stdout)

    def verify(self):
        done = self.run("verify", "--json", check=False)
        return done.returncode, json.loads(done.stdout)


class Wire:
    """An SMTP client that does exactly what it is told."""

    def __init__(self, address, timeout=20, greet=True, tls=None):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:  # from the first byte, with this context
            plain = self.socket
            try:
                self.socket = tls.wrap_socket(plain)
            except BaseException:
                plain.close()
                raise
        self.buffer = b""
        try:
            self.banner = self.reply() if greet else None
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        while b"\r\n" not in self.buffer:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise ConnectionError(f"closed by the server; left over: {self.buffer!r}")
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("utf-8", "replace")

    def reply(self):
        """A whole reply as one text, its lines joined by newlines."""
        lines = []
        while True:
            lines.append(self.line())
            if lines[-1][3:4] != "-":
                return "\n".join(lines)

    def ask(self, command):
        self.send(command + "\r\n")
        return self.reply()

    def hello(self):
        return self.ask("EHLO client.test")

    def message(self, data, sender="a@client.test", recipients=("b@mx.test",)):
        """A whole transaction, step by step; the reply to the end of data."""
        for command in [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in recipients)]:
            answer = self.ask(command)
            if not answer.startswith("250"):
                return answer
        answer = self.ask("DATA")
        if not answer.startswith("354"):
            return answer
        self.send(stuffed(data))
        return self.reply()

    def at_end(self, timeout=20):
        """True when the server has closed, with nothing more to read."""
        self.socket.settimeout(timeout)
        try:
            return not self.buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


class Recorder:
    """A proxy in front of a server that notes the messages clients send, byte for byte.

    It understands just enough SMTP: what a client sends after a 354 line up to CRLF.CRLF is a
    message, with the dot of each stuffed line removed.
    """

    def __init__(self, server_address):
        self.server_address = server_address
        self.messages = []
        self.connections = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client):
        server = socket.create_connection(self.server_address)
        content = None  # bytes of the message being sent, once 354 has been seen
        with client, server, contextlib.suppress(OSError):
            while True:
                readable, _, _ = select.select([client, server], [], [])
                # The server first: its 354 decides what the client's next bytes are.
                if server in readable:
                    data = server.recv(65536)
                    if not data:
                        return
                    if re.search(rb"(?m)^354 ", data):
                        content = b"\r\n"
                    client.sendall(data)
                elif client in readable:
                    data = client.recv(65536)
                    if not data:
                        server.shutdown(socket.SHUT_WR)
                        data = server.recv(65536)
                        client.sendall(data)
                        return
                    if content is not None:
                        content += data
                        end = content.find(b"\r\n.\r\n")
                        if end >= 0:
                            message = content[2:end + 2].replace(b"\r\n..", b"\r\n.")
                            if message.startswith(b".."):
                                message = message[1:]
                            with self._lock:
                                self.messages.append(message)
                            content = None
                    server.sendall(data)


def stuffed(message):
    """A message with CRLF line ends as it goes over the wire after DATA."""
    return re.sub(rb"(?m)^\.", b"..", message) + b".\r\n"


def sample_message(size=400, marker="hello"):
    """CRLF lines, some beginning with dots, at least `size` bytes."""
    head = (f"From: Alice <alice@client.test>\r\nTo: bob@mx.test\r\nSubject: {marker}\r\n"
            f"Message-ID: <{marker}.{os.getpid()}@client.test>\r\n"
            "Date: Sun, 22 Nov 2026 01:02:03 +0000\r\n\r\n").encode()
    body = b".\r\n..\r\n.leading dot\r\nFrom the start\r\n>From quoted\r\n"
    body = b"First line.\r\n" + body
    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
    missing = max(0, size - len(head) - len(body))
    return head + body + line * (-(-missing // len(line)))


class TestCase(unittest.TestCase):
    """Gives each test a scratch directory, removed when the test passed, and ends its servers."""

    maxDiff = 4000

    def setUp(self):
        os.makedirs(SCRATCH, exist_ok=True)
        self.directory = tempfile.mkdtemp(prefix=self.id().split(".", 1)[1] + ".", dir=SCRATCH)
        self.servers = []
        self.addCleanup(self._clean_up)

    def _clean_up(self):
        for server in self.servers:
            if server.alive():
                server.kill()
        outcome = self._outcome
        failed = any(error and test is self for test, error in getattr(outcome, "errors", []))
        result = getattr(outcome, "result", None)  # from Python 3.11 on, failures are there at once
        failed |= any(test is self for test, _ in
                      getattr(result, "failures", []) + getattr(result, "errors", []))
        if failed:
            print(f"scratch kept: {self.directory}", file=sys.stderr)
            for server in self.servers:
                with contextlib.suppress(OSError, AttributeError):
                    print(server.stderr(), file=sys.stderr)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def serve(self, config=None, args=(), **more):
        server = Server(self.directory, config, args, start=False, **more)
        self.servers.append(server)
        return server.start()

    def serve_dns(self, zones):
        """A real name server for these zones (see dns_server), ended with the test."""
        import dns_server  # it uses this module
        if not dns_server.find_knotd():
            self.skipTest("knotd is not installed (Debian: knot)")
        server = dns_server.DnsServer(self.directory, zones)
        self.addCleanup(server.stop)
        return server

    def need(self, name, *places):
        path = find_program(name, *places)
        if not path:
            self.skipTest(f"{name} is not installed")
        return path

    def run_client(self, command, timeout=60, **more):
        """A client program that must succeed; its result."""
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=timeout, **more)
        if done.returncode != 0:
            self.fail(f"{command[0]} exited with {done.returncode}:\n"
                      f"{done.stdout.decode(errors='replace')}\n"
                      f"{done.stderr.decode(errors='replace')}")
        return done


def main():
    program = unittest.main(exit=False, verbosity=2, module="__main__")
    result = program.result
    if not result.wasSuccessful() or result.testsRun == 0:
        sys.exit(1)
    sys.exit(SKIPPED if len(result.skipped) == result.testsRun else 0)
