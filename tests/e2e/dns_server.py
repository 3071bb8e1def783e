"""A real authoritative name server (knotd, Debian's package knot) on a free loopback port.

    server = DnsServer(directory, {"sender.test": '@ TXT "v=spf1 -all"\\nmail A 192.0.2.1\\n'})
    ... server.address is "127.0.0.1:PORT", for dns.servers and --resolver ...
    server.stop()

Each zone is given as the lines of a zone file; names without a dot at the end are below the zone.
SOA and NS are added. The server answers for its zones and refuses every other question, as one
without recursion does.
"""

import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time

import mxtest

TYPE_SOA = 6

CONFIG = """
server:
    rundir: "{base}"
    pidfile: "{base}/knotd.pid"
    listen: {host}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    tcp-reuseport: off
log:
  - target: stderr
    any: warning
database:
    storage: "{base}"
control:
    listen: "{base}/control"
"""
ZONE = """
  - domain: "{origin}"
    file: "{file}"
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
"""
APEX = """$ORIGIN {origin}
$TTL 300
@ SOA ns.{origin} hostmaster.{origin} ( 1 3600 900 604800 60 )
@ NS ns.{origin}
ns.{origin} A 127.0.0.1
"""


def find_knotd():
    return mxtest.find_program("knotd")


def strings(value):
    """A TXT record's text for a zone file: quoted, in strings of at most 255 bytes."""
    pieces = [value[at:at + 255] for at in range(0, len(value), 255)] or [""]
    return " ".join('"' + p.replace("\\", "\\\\").replace('"', '\\"') + '"' for p in pieces)


class DnsServer:
    def __init__(self, directory, zones, host="127.0.0.1"):
        self.program = find_knotd()
        if not self.program:
            raise FileNotFoundError("knotd is not installed (Debian: knot)")
        self.directory = directory
        self.host = host
        self.origins = {}
        for origin, records in zones.items():
            self._write_zone(origin.rstrip(".") + ".", records)
        # The control socket's name has 108 bytes at most.
        self.base = tempfile.mkdtemp(prefix="mxring-knot.", dir="/var/tmp")
        self.process = None
        self.port = 0
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def _write_zone(self, origin, records):
        file = os.path.join(self.directory, f"{origin}zone")
        with open(file, "w") as out:
            out.write(APEX.format(origin=origin) + records + "\n")
        self.origins[origin] = file

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def start(self, timeout=20):
        """Begins to serve: the first time on a port of its own choice, then again on that one."""
        keep = self.port != 0
        for attempt in range(5):
            if not keep:
                self.port = mxtest.free_port()
            if self._start_once(timeout):
                return self
        raise AssertionError(f"knotd does not start: {self.log()}")

    def _start_once(self, timeout):
        config = os.path.join(self.base, "knot.conf")
        with open(config, "w") as out:
            out.write(CONFIG.format(base=self.base, host=self.host, port=self.port) + "zone:\n")
            for origin, file in self.origins.items():
                out.write(ZONE.format(origin=origin, file=file))
        with open(os.path.join(self.base, "log"), "ab") as log:
            self.process = subprocess.Popen([self.program, "-c", config], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        end = time.monotonic() + timeout
        waiting = list(self.origins)
        while waiting and time.monotonic() < end and self.process.poll() is None:
            if self._serves(waiting[0]):
                waiting.pop(0)
            else:
                time.sleep(0.01)
        if not waiting:
            return True
        self._end_process()
        return False

    def _serves(self, origin):
        question = b"".join(bytes([len(label)]) + label
                            for label in origin.encode("idna").rstrip(b".").split(b".") if label)
        query = struct.pack(">6H", 0x4D58, 0, 1, 0, 0, 0) + question + struct.pack(
            ">BHH", 0, TYPE_SOA, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.5)
            try:
                udp.connect((self.host, self.port))
                udp.send(query)
                reply = udp.recv(4096)
            except OSError:
                return False
        return len(reply) > 8 and reply[3] & 15 == 0 and reply[7] > 0

    def log(self):
        with open(os.path.join(self.base, "log"), "rb") as text:
            return text.read().decode(errors="replace")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def _end_process(self):
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def pause(self):
        """Ends it, to be started again on the same port."""
        self._end_process()

    def stop(self):
        self._end_process()
        shutil.rmtree(self.base, ignore_errors=True)
