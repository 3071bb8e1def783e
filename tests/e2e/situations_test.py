"""What wakes an operator, made to happen: each situation has its journal line, its metric, an alert
that fires when it goes on, and a row in the operator's guide that names all three."""

import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import time

import mxtest
from mxtest import BINARY, Wire, sample_message
from odd_resolver import OddResolver

OBSERVE = os.path.join(mxtest.SOURCE, "tuning", "observe")
PRELOAD = os.environ.get("MXRING_DISK_TROUBLE_LIBRARY", "")

# The situation: what its line in the journal says ("event stage text"), the metric that changes,
# and the alert.
SITUATIONS = {
    "unknown recipient": (
        r"refused rcpt 550 5\.1\.1 ", 'mxring_refusals_total{reply="550 5.1.1"}',
        "MxringUnknownRecipients"),
    "access rule": (
        r"refused rcpt 554 5\.7\.1 We know you", 'mxring_refusals_total{reply="554 5.7.1"}',
        "MxringAccessRefusals"),
    "block list": (
        r"refused rcpt 554 5\.7\.1 .* is listed by bl\.test",
        "mxring_recipients_refused_listed_total", "MxringBlockListRefusesMost"),
    "rate limit": (
        r"deferred mail 450 4\.7\.0 ", 'mxring_refusals_total{reply="450 4.7.0"}',
        "MxringClientsRateLimited"),
    "flood of connections": (
        r"deferred connect 421 4\.7\.0 Too many connections", "mxring_connections_refused_total",
        "MxringConnectionsRefused"),
    "client that never reads": (
        r"cut_off \w+ 421 4\.4\.2 ", "mxring_timeouts_total", "MxringClientsTimeOut"),
    "given-up message": (
        r"deferred message 452 4\.3\.1 Too many messages in flight", "mxring_memory_evictions_total",
        "MxringMemoryShort"),
    "DMARC reject": (
        r"refused message 550 5\.7\.26 ", "mxring_messages_refused_dmarc_total",
        "MxringDmarcRejects"),
    "DMARC temperror": (
        r"deferred message 451 4\.\d\.\d .*DMARC", 'mxring_dmarc_results_total{result="temperror"}',
        "MxringDmarcTemperrors"),
    "dead resolver": (
        r"notice None warning: the DNS resolver .* does not answer", "mxring_dns_timeouts_total",
        "MxringDnsTimeouts"),
    "resolver that refuses": (
        r"notice None warning: the DNS resolver .* refuses every question",
        "mxring_dns_failures_total", "MxringDnsFailures"),
    "certificate that ends in a week": (
        r"notice None warning: certificate .* expires on 20",
        "mxring_certificate_expiry_timestamp_seconds", "MxringCertificateExpires"),
    "certificate that does not load": (
        r"notice None warning: reload: nothing changed: the certificates were not loaded again",
        'mxring_reload_failed{of="certificates"}', "MxringReloadFailed"),
    "configuration that does not check": (
        r'notice None warning: reload: nothing changed: .*unknown key "recipient"',
        'mxring_reload_failed{of="configuration"}', "MxringReloadFailed"),
    "disk below its reserve": (
        r"notice None warning: .* free, below the reserve of .* is put off with 452 4\.3\.1",
        "mxring_accepting", "MxringNotAccepting"),
    "slow sync": (
        r"notice None warning: a commit took [\d.]+ m?s: the disk of the log is slow",
        "mxring_commit_seconds_bucket", "MxringSlowSync"),
    "storage error": (
        r"notice None fatal: .*Input/output error.*everything answered 250 is durable",
        "mxring_commit_failures_total", "MxringStorageErrors"),
    "damaged segment": (
        r"notice None warning: .*\.seg: damaged at byte \d+: .*checksum does not match",
        "mxring_log_damaged_places", "MxringLogDamaged"),
    "stuck group": (
        r"notice None warning: group stuck is 6\d minutes late, with 5 records to go: no reader",
        "mxring_group_lag_seconds", "MxringGroupLags"),
    "retention that drops": (
        r"removed None .*although groups had not dealt with it", "mxring_group_dropped_total",
        "MxringGroupLostRecords"),
}


def read(name):
    with open(os.path.join(OBSERVE, name)) as text:
        return text.read()


class Scrape:
    """What /metrics said, and when."""

    def __init__(self, server):
        self.at = time.time()
        lines = re.findall(r"(?m)^([a-z_]+)(?:\{(.*)\})? (\S+)$", server.http("/metrics"))
        self.series = {(name, labels): float(value) for name, labels, value in lines}

    def of(self, names):
        return {key for key in self.series if key[0] in names}

    def sum(self, metric):
        name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})?", metric).groups()
        return sum(value for (n, l), value in self.series.items()
                   if n == name and (not labels or labels == l))


class Situations(mxtest.TestCase):
    shown = set()

    def setUp(self):
        super().setUp()
        self.rules = read("alerts.yml")
        self.tests = []
        self.serial = 0
        self.socket_folder = mxtest.short_directory(self)

    # The servers, each with a journal of its own.

    def start(self, config=None, **more):
        self.serial += 1
        self.journal = os.path.join(self.directory, f"journal-{self.serial}")
        config = {section: dict(keys) for section, keys in (config or {}).items()}
        listen = config.setdefault("listen", {})
        listen.setdefault("smtp", ["127.0.0.1:0"])
        listen["admin"] = "127.0.0.1:0"
        listen["control"] = os.path.join(self.socket_folder, "c")
        config["journal"] = {"to": self.journal}
        config.setdefault("shards", {"count": 1})
        self.server = self.serve(config, **more)
        return self.server

    def lines(self):
        with open(self.journal) as text:
            return [json.loads(line) for line in text if line.endswith("\n")]

    def said(self, pattern):
        return [line for line in self.lines() if re.search(
            "^" + pattern, f"{line['event']} {line['stage']} {line.get('text') or line['reply']}")]

    def show(self, situation, before):
        """It has happened, or is about to: its line and its metric, and what its alert would say
        before, and if it went on."""
        pattern, metric, alert = SITUATIONS[situation]

        def changed():
            self.after = Scrape(self.server)
            return before is None or self.after.sum(metric) != before.sum(metric)
        mxtest.wait_until(lambda: self.said(pattern), 40, f"{situation}: a line like {pattern}")
        mxtest.wait_until(changed, 40, f"{situation}: {metric} changes")
        self.expect(situation, alert, self.after, before, fires=True)
        if before is not None:
            self.expect(situation, alert, before, before, fires=False)
        Situations.shown.add(situation)
        return self.after

    # Prometheus.

    def expect(self, situation, alert, scrape, before, fires):
        """A test of the rules in which the figures go on as between these two: each quarter of a
        minute what the situation did, twice a second."""
        rule = re.search(rf"- alert: {alert}\n +expr: (.*)\n", self.rules)
        self.assertTrue(rule, alert)
        series = []
        for name, labels in sorted(scrape.of(set(re.findall(r"mxring_\w+", rule[1])))):
            value = scrape.series[name, labels]
            grown = value - (before.series.get((name, labels), 0) if before else 0)
            step = 30 * grown if name.endswith(("_total", "_bucket")) else 0
            if name.endswith("_timestamp_seconds"):
                value -= scrape.at
            if name.endswith("_lag_seconds") and value > 0:
                step = 15
            own = f'instance="a",job="mxring"{"," if labels else ""}{labels}'
            series.append({"series": f"{name}{{{own}}}", "values": f"{value:.3f}+{step:.3f}x120"})
        expression = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
        self.tests.append({
            "interval": "15s", "name": f"{situation}, {'going on' if fires else 'before'}",
            "input_series": series,
            "promql_expr_test": [{"expr": f"({expression}) > bool 0", "eval_time": "25m",
                                  "exp_samples": [{"labels": "{}", "value": int(fires)}]}]})

    def check_alerts(self):
        promtool = mxtest.find_program("promtool")
        if not promtool:
            print("promtool is not installed: the alerts are not tried")
            return
        path = os.path.join(self.directory, "rules_test.yml")  # JSON is YAML
        with open(path, "w") as out:
            json.dump({"rule_files": [os.path.join(OBSERVE, "alerts.yml")],
                       "evaluation_interval": "1m", "tests": self.tests}, out)
        done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True,
                              timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    # What happens.

    def client(self, ip):
        wire = Wire(self.server.address, greet=False)
        self.addCleanup(wire.close)
        wire.send(f"PROXY TCP4 {ip} 127.0.0.1 4000 25\r\n")
        wire.banner = wire.reply()
        return wire

    def one(self, ip, data=None, sender="a@client.test", recipient="joe@mx.test"):
        wire = self.client(ip)
        wire.hello()
        answer = wire.message(data or sample_message(), sender, [recipient])
        wire.close()
        return answer

    def until(self, pattern, send, tries=4):
        """A machine that stands still for seconds makes an answer of DNS late."""
        for _ in range(tries):
            answer = send()
            if re.search(pattern, answer):
                return
        self.assertRegex(answer, pattern)

    def file(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as out:
            out.write(text)
        return path

    def ctl(self, command, code):
        done = subprocess.run([BINARY, "ctl", command, "--socket",
                               self.server.config["listen"]["control"]],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)

    def groups(self, *args):
        self.run_client([BINARY, "groups", *args])

    def test_clients(self):
        dns = OddResolver({"7.2.0.192.bl.test": [("A", "127.0.0.2")],
                           "_dmarc.reject.test": [("TXT", "v=DMARC1; p=reject")],
                           "reject.test": [("A", "192.0.2.1")]}, silent=["silent.test"])
        self.addCleanup(dns.stop)
        self.start({
            "listen": {"smtp": ["127.0.0.1:0"], "proxy": ["127.0.0.1"]},
            "recipients": {"file": self.file("recipients", "joe@mx.test\n")},
            "access": {"file": self.file("access", "deny sender @bad.test We know you\n"),
                       "dnsbl": ["bl.test"]},
            "auth": {"spf": True, "dkim": True, "dmarc": True, "on_dmarc_temperror": "tempfail"},
            "dns": {"servers": [dns.address], "timeout": "1s"},
            "limits": {"messages_per_minute": 20, "connections_per_ip": 5}})
        self.until("^250", lambda: self.one("192.0.2.9"))
        seen = Scrape(self.server)
        self.assertRegex(self.one("192.0.2.9", recipient="jane@mx.test"), r"^550 5\.1\.1")
        seen = self.show("unknown recipient", seen)
        self.assertRegex(self.one("192.0.2.9", sender="x@bad.test"), r"^554 5\.7\.1")
        seen = self.show("access rule", seen)
        for _ in range(10):
            self.until(r"^554 5\.7\.1", lambda: self.one("192.0.2.7"))
        seen = self.show("block list", seen)
        wire = self.client("192.0.2.10")
        wire.hello()
        self.until(r"^450 4\.7\.0", lambda: wire.message(
            sample_message(), recipients=["joe@mx.test"]), tries=60)
        seen = self.show("rate limit", seen)
        held = [self.client("192.0.2.11") for _ in range(6)]
        self.assertRegex(held[-1].banner, r"^421 4\.7\.0")
        seen = self.show("flood of connections", seen)
        forged = b"From: ceo@reject.test\r\n\r\nx\r\n"
        self.until(r"^550 5\.7\.26", lambda: self.one("192.0.2.12", forged))
        seen = self.show("DMARC reject", seen)
        self.assertRegex(self.one("192.0.2.12", b"From: a@silent.test\r\n\r\nx\r\n"), r"^451 4\.")
        self.show("DMARC temperror", seen)
        self.assertEqual(self.server.stop(), 0)
        self.check_alerts()

    def test_resolvers(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            self.ask_resolver("127.0.0.1:%d" % silent.getsockname()[1], "dead resolver")
        refusing = OddResolver({}, manner="refuse")
        self.addCleanup(refusing.stop)
        self.ask_resolver(refusing.address, "resolver that refuses")
        self.check_alerts()

    def ask_resolver(self, address, situation):
        self.start({"auth": {"spf": True}, "dns": {"servers": [address], "timeout": "1s"}})
        before = Scrape(self.server)
        wires = []
        for i in range(8):
            wire = Wire(self.server.address)
            self.addCleanup(wire.close)
            wire.send(f"EHLO client.test\r\nMAIL FROM:<a@s{i}.test>\r\nRCPT TO:<b@mx.test>\r\n"
                      "DATA\r\n")
            for _ in range(4):
                wire.reply()
            wire.send(mxtest.stuffed(sample_message()))
            wires.append(wire)
        for wire in wires:
            self.assertRegex(wire.reply(), "^250")
            wire.close()
        self.show(situation, before)
        self.assertEqual(self.server.stop(), 0)

    def test_who_never_reads(self):
        self.start({"limits": {"command_wait": "1s"}})
        before = Scrape(self.server)
        raw = socket.socket()
        self.addCleanup(raw.close)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        raw.settimeout(1)
        raw.connect(self.server.address)
        self.assertRegex(raw.recv(100), b"^220 ")
        commands = b"EHLO client.test\r\n" + (
            b"MAIL FROM:<a@client.test>\r\n" + b"RCPT TO:<b@mx.test>\r\n" * 900 + b"RSET\r\n") * 90
        try:
            raw.sendall(commands)
        except OSError:  # it does not take all of them
            pass
        self.show("client that never reads", before)
        self.assertEqual(self.server.stop(), 0)
        self.check_alerts()

    def test_certificates_and_configurations(self):
        openssl = self.need("openssl")
        key, certificate = (os.path.join(self.directory, name) for name in ("key", "certificate"))
        self.run_client([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt",
                         "ec_paramgen_curve:P-256", "-nodes", "-days", "7", "-subj", "/CN=mx.test",
                         "-addext", "subjectAltName=DNS:mx.test", "-keyout", key, "-out",
                         certificate])
        self.start({"tls": {"certificate": certificate, "key": key}})
        self.show("certificate that ends in a week", None)
        before = Scrape(self.server)
        with open(certificate) as text:
            good = text.read()
        self.file("certificate", good[:200])
        self.ctl("reload", 1)
        self.show("certificate that does not load", before)
        self.file("certificate", good)
        self.ctl("reload", 0)
        before = Scrape(self.server)
        config = os.path.join(self.directory, "mxring.toml")
        with open(config) as text:
            good = text.read()
        self.file("mxring.toml", good.replace("[limits]", "[limits]\nrecipient = 5"))
        self.ctl("reload", 1)
        self.show("configuration that does not check", before)
        self.file("mxring.toml", good)
        self.ctl("reload", 0)
        self.assertEqual(Scrape(self.server).sum("mxring_reload_failed"), 0)
        self.assertEqual(self.server.stop(), 0)
        self.check_alerts()

    def test_memory(self):
        self.start({"limits": {"memory": "16MiB", "message_size": "8MiB", "memory_wait": "1s"}})
        before = Scrape(self.server)
        wires = [Wire(self.server.address) for _ in range(3)]
        for wire in wires:
            self.addCleanup(wire.close)
            wire.hello()
            for command in ("MAIL FROM:<a@client.test>", "RCPT TO:<b@mx.test>", "DATA"):
                self.assertRegex(wire.ask(command), "^250|^354")
        for wire in wires:
            wire.socket.settimeout(2)
            with contextlib.suppress(OSError):  # who pauses, takes no more
                wire.send(b"From: a@client.test\r\n\r\n" + (b"x" * 70 + b"\r\n") * 90_000)
        mxtest.wait_until(lambda: Scrape(self.server).sum("mxring_memory_evictions_total"), 40,
                          "one is given up")
        for wire in wires:
            wire.socket.settimeout(20)
            wire.send(b"\r\n.\r\n")
            wire.reply()
        self.show("given-up message", before)
        for wire in wires:
            wire.close()
        self.assertEqual(self.server.stop(), 0)
        self.check_alerts()

    def test_disk(self):
        self.start()
        before = Scrape(self.server)
        self.assertEqual(self.server.stop(), 0)
        self.start({"limits": {"disk_reserve_percent": 99}})
        self.show("disk below its reserve", before)
        self.assertEqual(self.server.stop(), 0)
        self.check_alerts()

    def test_slow_and_broken_disk(self):
        if not PRELOAD:
            self.skipTest("a sanitizer does not let a library be preloaded")
        trouble = os.path.join(self.directory, "trouble")

        def make(wait_ms, error):
            with open(trouble, "r+b" if os.path.exists(trouble) else "w+b") as out:
                out.write(struct.pack("=ii", wait_ms, error))

        make(0, 0)
        self.start(env={**os.environ, "LD_PRELOAD": PRELOAD, "MXRING_DISK_TROUBLE": trouble})
        open_one = Wire(self.server.address)  # a transaction in progress: the end waits for it
        self.addCleanup(open_one.close)
        open_one.hello()
        for command in ("MAIL FROM:<a@client.test>", "RCPT TO:<b@mx.test>", "DATA"):
            self.assertRegex(open_one.ask(command), "^250|^354")
        with Wire(self.server.address) as wire:
            wire.hello()
            self.assertRegex(wire.message(sample_message()), "^250")
            before = Scrape(self.server)
            make(1100, 0)
            self.assertRegex(wire.message(sample_message()), "^250")
            seen = self.show("slow sync", before)
            make(0, 5)
            self.assertRegex(wire.message(sample_message()), r"^451 4\.3\.0")
            self.show("storage error", seen)
        open_one.close()
        self.assertEqual(self.server.wait(), 1)
        self.check_alerts()

    def test_the_log(self):
        """Written an hour ago, damaged since, and nobody reads for the group."""
        library = self.need("libfaketimeMT.so.1", *(
            f"/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"
            for machine in ("x86_64", "aarch64")))
        config = {"log": {"segment_bytes": "32MiB", "scrub_rate": "64MiB"}}
        self.start(config, env={**os.environ, "LD_PRELOAD": library, "FAKETIME": "-1h",
                                "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        with Wire(self.server.address) as wire:
            wire.hello()
            for i in range(5):
                self.assertEqual(wire.message(sample_message()), f"250 2.0.0 Ok {i}")
        self.assertEqual(self.server.stop(), 0)
        self.start(config)
        before = Scrape(self.server)
        self.assertEqual(self.server.stop(), 0)
        self.groups("create", self.server.log_dir, "stuck")
        with open(os.path.join(self.server.log_dir, "%020d.seg" % 0), "r+b") as log:
            at = log.read(1 << 20).rindex(b"quick brown")
            log.seek(at)
            log.write(b"QUICK")
        self.start(config)
        self.show("damaged segment", before)
        self.show("stuck group", before)
        self.assertEqual(self.server.stop(), 0)
        self.check_alerts()

    def test_retention(self):
        self.start({"log": {"segment_bytes": "4MiB", "retain_bytes": "5MiB"},
                    "groups": {"hold_bytes": "9MiB", "on_hold_full": "drop"},
                    "limits": {"message_size": "1MiB", "memory": "32MiB"}})
        with Wire(self.server.address) as wire:
            wire.hello()
            self.assertEqual(wire.message(sample_message()), "250 2.0.0 Ok 0")
            self.groups("create", self.server.log_dir, "slow")
            before = Scrape(self.server)
            large = sample_message(400) + (b"x" * 70 + b"\r\n") * 12_000
            for _ in range(30):
                self.assertRegex(wire.message(large), "^250")
        self.show("retention that drops", before)
        self.assertEqual(self.server.stop(), 0)
        self.check_alerts()

    def test_the_guide_has_each(self):
        rows = {}
        for row in re.findall(r"(?m)^\| (.*) \|$", read("GUIDE.md")):
            cells = [cell.strip() for cell in row.split(" | ")]
            rows[cells[0]] = cells[1:]
        for situation, (_, metric, alert) in SITUATIONS.items():
            self.assertIn(situation, rows)
            line, of_metric, of_alert, do = rows[situation]
            self.assertRegex(line, "^`.+`$", situation)
            self.assertEqual(of_metric, f"`{metric.removesuffix('_bucket')}`", situation)
            self.assertEqual(of_alert, alert, situation)
            self.assertGreater(len(do), 30, situation)
        # Each is shown by some test above.
        with open(__file__) as text:
            self.assertEqual(set(re.findall(r'self\.show\("([^"]+)"', text.read())) |
                             {"dead resolver", "resolver that refuses"}, set(SITUATIONS))


if __name__ == "__main__":
    mxtest.main()
