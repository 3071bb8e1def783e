"""What the verifying servers need: a DNS server on loopback with a key, SPF and DMARC records, and
a message signed with that key. knot serves, `mxring dkim` makes the key and the signature."""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

from server import Skip, libraries, program

DOMAIN = "sender.example"
ADDRESS = "127.0.0.77"  # port 53, because some peers cannot be told a port

ZONE = """\
$ORIGIN sender.example.
$TTL 3600
@ IN SOA ns.sender.example. hostmaster.sender.example. 1 3600 900 604800 300
@ IN NS ns.sender.example.
ns IN A {address}
@ IN A 127.0.0.1
@ IN MX 10 sender.example.
@ IN TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc IN TXT "v=DMARC1; p=reject; adkim=s; aspf=r"
{record}. IN TXT {value}
"""
KNOT = """\
server:
    listen: {address}@53
    rundir: {base}/run
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {base}/db
log:
  - target: stderr
    any: error
zone:
  - domain: sender.example
    file: {base}/sender.example.zone
    zonefile-load: whole
"""


def quoted(text):
    """A TXT record's strings of at most 255 bytes."""
    return " ".join(f'"{text[i:i + 250]}"' for i in range(0, len(text), 250))


class Zone:
    """start() raises Skip when something is missing; then nothing that verifies is run."""

    def __init__(self, options):
        self.options = options
        self.process = None
        self.directory = None
        self.server = f"{ADDRESS}:53"

    def start(self, size_kib):
        if os.geteuid() != 0:
            raise Skip("verifying needs root: a DNS server on port 53 of loopback")
        knot = program("knotd", self.options)
        self.directory = tempfile.mkdtemp(prefix="mxc-dns-", dir="/var/tmp")
        os.chmod(self.directory, 0o755)
        for name in ("run", "db", "key"):
            os.mkdir(os.path.join(self.directory, name))
        key = self.make_key()
        with open(self.path("sender.example.zone"), "w", encoding="ascii") as file:
            file.write(ZONE.format(address=ADDRESS, record=key["record_name"].rstrip("."),
                                   value=quoted(key["record_value"])))
        with open(self.path("knot.conf"), "w", encoding="ascii") as file:
            file.write(KNOT.format(address=ADDRESS, base=self.directory))
        with open(self.path("resolv.conf"), "w", encoding="ascii") as file:
            file.write(f"nameserver {ADDRESS}\n")
        self.resolv_conf = self.path("resolv.conf")
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries(self.options)}
        with open(self.path("knot.log"), "wb") as log:
            self.process = subprocess.Popen(
                [program("taskset"), "-c", str(self.options.client_cpu), knot, "-c",
                 self.path("knot.conf")], stdout=log, stderr=log, env=environment)
        self.await_answer()
        self.sign(key, size_kib)

    def path(self, name):
        return os.path.join(self.directory, name)

    def mxring(self, *arguments, **more):
        done = subprocess.run([self.options.mxring, *arguments], capture_output=True, check=False,
                              **more)
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["failed"]
            raise Skip(f"mxring {' '.join(arguments[:2])}: {lines[-1]}")
        return done.stdout

    def make_key(self):
        made = json.loads(self.mxring("dkim", "keygen", "--domain", DOMAIN, "--selector", "bench",
                                      "--bits", "2048", "--out", self.path("key"), "--json"))
        return made

    def await_answer(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                self.mxring("dns", "lookup", f"bench._domainkey.{DOMAIN}", "TXT", "--resolver",
                            self.server)
                return
            except Skip:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    with open(self.path("knot.log"), encoding="utf-8", errors="replace") as log:
                        lines = log.read().strip().splitlines() or ["says nothing"]
                    raise Skip(f"knotd does not answer on {self.server}: {lines[-1]}") from None
                time.sleep(0.1)

    def sign(self, key, size_kib):
        """One message of about the size; smtp-source sends it again and again."""
        words = random.Random(1)
        lines = ["From: Bench <bench@sender.example>", "To: <sink@bench.example>",
                 "Subject: a message of the comparison", "Message-ID: <bench@sender.example>",
                 "Date: Sun, 22 Nov 2026 01:02:03 +0000", "MIME-Version: 1.0",
                 "Content-Type: text/plain; charset=us-ascii", ""]
        size = sum(len(line) + 2 for line in lines)
        while size < size_kib * 1024 - 600:
            line = "".join(words.choices("abcdefghijklmnopqrstuvwxyz      ", k=70)).strip()
            lines.append(line)
            size += len(line) + 2
        plain = "\r\n".join(lines) + "\r\n"
        signed = self.mxring("dkim", "sign", "--key", key["private_key_file"], "--domain", DOMAIN,
                             "--selector", "bench", "-", input=plain.encode("ascii"))
        # smtp-source takes a text file with the line ends of this system.
        self.message = self.path("message.eml")
        with open(self.message, "wb") as file:
            file.write(signed.replace(b"\r\n", b"\n"))

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None
