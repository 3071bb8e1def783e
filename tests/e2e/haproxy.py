"""HAProxy (Debian's package) in front of a server under test, on free loopback ports.

    proxy = Haproxy(directory, {"name": {"to": (host, port), "options": "send-proxy-v2"}})
    ... proxy.address("name") is where clients connect; proxy.stop() ends it ...

An entry may have "check": lines of its backend, for health checks.
"""

import os
import shutil
import socket
import subprocess
import tempfile

import mxtest

GLOBAL = """
global
    maxconn 5000
    stats socket {control} mode 600
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
"""
ENTRY = """
frontend {name}
    bind 127.0.0.1:{port}
    default_backend b_{name}
backend b_{name}
{check}
    server s 127.0.0.1:{server_port} {options}
"""


def find_haproxy():
    return mxtest.find_program("haproxy")


class Haproxy:
    def __init__(self, directory, entries):
        self.directory = directory
        self.ports = {name: mxtest.free_port() for name in entries}
        config = os.path.join(directory, "haproxy.cfg")
        # A directory of its own: HAProxy takes 97 bytes for the name of a socket.
        self.short = tempfile.mkdtemp(prefix="mxring-", dir="/var/tmp")
        self.control = os.path.join(self.short, "haproxy.socket")
        with open(config, "w", encoding="utf-8") as out:
            out.write(GLOBAL.format(control=self.control))
            for name, entry in entries.items():
                out.write(ENTRY.format(name=name, port=self.ports[name],
                                       server_port=entry["to"][1],
                                       options=entry.get("options", ""),
                                       check=entry.get("check", "")))
        self.log = open(os.path.join(directory, "haproxy.log"), "wb")
        self.process = subprocess.Popen([find_haproxy(), "-db", "-f", config],
                                        stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        try:
            mxtest.wait_until(self._ready, 20, "haproxy listens")
        except (AssertionError, RuntimeError):
            self.stop()
            raise

    def _ready(self):
        if self.process.poll() is not None:
            with open(self.log.name, "rb") as log:
                raise RuntimeError(f"haproxy ended: {log.read().decode(errors='replace')}")
        return self.ask("show info") is not None

    def ask(self, command):
        """The answer on HAProxy's own control socket; None before it is there."""
        with socket.socket(socket.AF_UNIX) as control:
            try:
                control.connect(self.control)
            except OSError:
                return None
            control.settimeout(10)
            control.sendall(command.encode() + b"\n")
            answer = b""
            while piece := control.recv(65536):
                answer += piece
        return answer.decode()

    def check_of(self, name):
        """What the health check of an entry's server found: "L7OK", "L4TOUT", ..."""
        rows = [line.split(",") for line in self.ask("show stat").splitlines() if line]
        columns = rows[0]
        for row in rows[1:]:
            if row[0] == f"b_{name}" and row[1] == "s":
                return row[columns.index("check_status")]
        return None

    def address(self, name):
        return ("127.0.0.1", self.ports[name])

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.short, ignore_errors=True)
