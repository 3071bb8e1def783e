#!/usr/bin/env python3
"""Asks: what does TLS cost a receiver, in mxring and in what people would use instead?

In one run, in interleaved rounds: CPU time of the whole server for a connection with a full
handshake, for one with a resumed session, and for a message of 10 and 100 KiB on connections that
are kept, all with TLS 1.3, AES-128-GCM, X25519 and the same ECDSA P-256 certificate, on implicit
TLS. Each server has one core, the clients the other: a Python client counts handshakes, `mxring
load` sends messages. Postfix's smtpd runs on OpenSSL and drops what it receives, npm's smtp-server
runs on Node's OpenSSL and drops it too; mxring stores every message durably. The unit is
microseconds of CPU, user and system; medians.

  bench/tls_compare.py [--build DIR] [--rounds N] [--quick] [--json]

Standard library only. Needs openssl, Postfix and taskset; bench/peers.py fetches smtp-server.
"""

import argparse
import collections
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

# Python cannot choose among the suites of TLS 1.3; OpenSSL's configuration can, before it starts.
SUITE = "TLS_AES_128_GCM_SHA256"
if "OPENSSL_CONF" not in os.environ:
    with tempfile.NamedTemporaryFile("w", prefix="tls_compare-", suffix=".cnf") as conf:
        conf.write("openssl_conf = top\n[top]\nssl_conf = ssl\n[ssl]\nsystem_default = chosen\n"
                   f"[chosen]\nCiphersuites = {SUITE}\n")
        conf.flush()
        sys.exit(subprocess.run([sys.executable, *sys.argv], check=False,
                                env={**os.environ, "OPENSSL_CONF": conf.name}).returncode)

import ssl  # noqa: E402

del os.environ["OPENSSL_CONF"]  # the servers have their own

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench", "compare"))

import daemons  # noqa: E402
import ours  # noqa: E402
import scripts  # noqa: E402
from server import Problem, Skip, program  # noqa: E402


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def connect(port, context, session=None):
    """One connection up to the banner; its session for the next one."""
    with socket.create_connection(("127.0.0.1", port), 20) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(raw, session=session) as client:
            if not client.recv(200).startswith(b"220"):
                raise Problem("no banner")
            client.sendall(b"QUIT\r\n")
            while client.recv(1000):
                pass
            return client.session, client.session_reused, client.cipher()[0]


class Tls:
    """Of every server here: how it is seen to be ready."""

    def await_port(self, port=None, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() not in (None, 0):
                raise Skip(f"did not start: {self.complaint()}")
            try:
                connect(port or self.port, client_context())
                return
            except OSError:
                time.sleep(0.05)
        raise Skip(f"does not greet on its port: {self.complaint()}")


class Mxring(Tls, ours.Mxring):
    name = "mxring"
    work = "store"

    def start(self):
        self.make_directory()
        text = ours.MXRING_CONFIG.format(log_dir=os.path.join(self.directory, "log"),
                                         sync="commit", dns="", auth="false")
        config = self.write("mxring.toml", text.replace(
            "smtps = []", 'smtps = ["127.0.0.1:0"]') +
            f'[tls]\ncertificate = "{self.options.certificate}"\nkey = "{self.options.key}"\n')
        self.launch([self.options.mxring, "serve", "--config", config])
        line = self.await_ready(r"ready .*")[0]
        self.port = int(re.search(r" smtps=\S+:(\d+)", line)[1])


class PostfixTls(Tls, daemons.PostfixDiscard):
    name = "Postfix smtpd, DISCARD"

    def settings(self):
        return (f"{self.extra}\nsmtpd_tls_wrappermode = yes\nsmtpd_tls_eccert_file = "
                f"{self.options.certificate}\nsmtpd_tls_eckey_file = {self.options.key}\n"
                "smtpd_tls_cert_file = none\nsmtpd_tls_mandatory_protocols = TLSv1.3\n"
                "tls_ssl_options = NO_COMPRESSION\n")

    def write(self, name, text, mode=0o644):
        if name.endswith("master.cf"):
            text += "tlsmgr unix - - n 1000? 1 tlsmgr\n"
        return super().write(name, text.replace("smtpd_tls_security_level = none\n", ""), mode)


class SmtpServerTls(Tls, scripts.SmtpServer):
    name = "npm smtp-server"
    work = "discard"

    def start(self):
        modules = scripts.node_modules(self.options, "smtp-server")
        self.make_directory()
        self.launch([program("node"), os.path.join(scripts.HERE, "js", "smtp_server_tls.js"),
                     modules, self.options.certificate, self.options.key])
        self.port = int(self.await_ready(r"ready (\d+)")[1])


SERVERS = (Mxring, PostfixTls, SmtpServerTls)


def measured(server, count, work):
    """Microseconds of the server's CPU for each of `count`, and how many there were a second."""
    before, begin = server.cpu_seconds(), time.monotonic()
    work()
    seconds = time.monotonic() - begin
    return (server.cpu_seconds() - before) / count * 1e6, count / seconds


def handshakes(server, count, resumed):
    context = client_context()
    session, _, suite = connect(server.port, context)
    if suite != SUITE:
        raise Problem(f"{server.name}: {suite}")

    def work():
        last = session
        for _ in range(count):
            given, reused, _ = connect(server.port, context, last if resumed else None)
            if reused != resumed:
                raise Problem(f"{server.name}: resumed is {reused}, not {resumed}")
            last = given or last

    for _ in range(count // 10):
        connect(server.port, context)
    return measured(server, count, work)


def messages(options, server, count, size_kib):
    def load(number):
        done = subprocess.run(
            [program("taskset"), "-c", str(options.client_cpu), options.mxring, "load",
             f"127.0.0.1:{server.port}", "--tls", "implicit", "--connections", "32", "--messages",
             str(number), "--size", f"{size_kib}KiB", "--messages-per-connection", "0", "--json"],
            capture_output=True, text=True, timeout=300, check=False)
        result = json.loads(done.stdout or "{}")
        if result.get("accepted") != number:
            raise Problem(f"{server.name}: {done.stderr.strip()} {done.stdout[:300]}")

    load(max(64, count // 10))
    # The connections' own handshakes are 32 among hundreds or thousands of messages.
    return measured(server, count, lambda: load(count))


def run(options, say):
    figures = collections.defaultdict(lambda: collections.defaultdict(list))
    skipped = {}
    for number in range(options.rounds):
        for kind in SERVERS:
            if kind.name in skipped:
                continue
            server = kind(options)
            try:
                server.start()
                for what, work in (
                        ("full handshake", lambda: handshakes(server, options.handshakes, False)),
                        ("resumed", lambda: handshakes(server, options.handshakes, True)),
                        ("10 KiB", lambda: messages(options, server, options.messages, 10)),
                        ("100 KiB", lambda: messages(options, server, options.messages // 4, 100))):
                    say(f"round {number + 1} of {options.rounds}: {server.name}, {what}")
                    figures[kind.name][what].append(work())
            except Skip as why:
                skipped[kind.name] = str(why)
            finally:
                server.stop()
    return figures, skipped


def make_certificate(options):
    openssl = program("openssl")
    options.directory = os.path.join(options.build, "tls_compare")
    os.makedirs(options.directory, exist_ok=True)
    options.certificate = os.path.join(options.directory, "certificate.pem")
    options.key = os.path.join(options.directory, "key.pem")
    subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", options.key, "-out",
                    options.certificate, "-days", "30", "-subj", "/CN=bench.example"],
                   check=True, capture_output=True)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--mxring")
    parser.add_argument("--peers-dir", default=os.path.join(ROOT, "build", "peers"))
    parser.add_argument("--log-parent", help="folder for mxring's log (default: the build folder)")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="one short round: does it all run?")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    options.mxring = options.mxring or os.path.join(options.build, "mxring")
    options.log_parent = options.log_parent or options.build
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.handshakes = 100 if options.quick else 400
    options.messages = 800 if options.quick else 4000
    return options


def main():
    options = parse_options()
    on_terminal = sys.stderr.isatty()

    def say(text):
        if on_terminal:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    try:
        make_certificate(options)
        os.sched_setaffinity(0, {options.client_cpu})
        figures, skipped = run(options, say)
    except (Problem, Skip, subprocess.CalledProcessError) as problem:
        say("")
        print(f"tls_compare: {problem}", file=sys.stderr)
        return 1
    say("")
    table = {name: {what: {"cpu_us": round(statistics.median(cpu for cpu, _ in values), 1),
                           "cpu_us_min": round(min(cpu for cpu, _ in values), 1),
                           "cpu_us_max": round(max(cpu for cpu, _ in values), 1),
                           "per_second_of_a_core":
                               round(1e6 / statistics.median(cpu for cpu, _ in values))}
                    for what, values in rows.items()} for name, rows in figures.items()}
    if options.json:
        print(json.dumps({"rounds": options.rounds, "load": os.getloadavg()[0],
                          "results": table, "skipped": skipped}))
        return 0
    columns = ("full handshake", "resumed", "10 KiB", "100 KiB")
    print(f"TLS 1.3, {SUITE}, ECDSA P-256; CPU us of the server each (min - max), medians of "
          f"{options.rounds} rounds;\nand how many a second of one core would do\n")
    print(f"{'':24}" + "".join(f"{column:>30}" for column in columns))
    for name, row in table.items():
        print(f"{name:24}" + "".join(
            "{:>30}".format(f"{v['cpu_us']:,.0f} ({v['cpu_us_min']:,.0f} - {v['cpu_us_max']:,.0f})"
                            f" {v['per_second_of_a_core']:,}/s")
            for v in (row[column] for column in columns)))
    for name, why in skipped.items():
        print(f"\nskipped: {name}: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
