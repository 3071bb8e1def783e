"""DMARC aggregate reports from end to end: genuine and spoofed mail through a server with a real
name server, `report build`, the XML against the schema and the log, `report send` to a second
server found by MX, the signature checked there.

The schema is our own; the working group's (shared/corpora, not in this repository) is used as well
when it is there.
"""

import collections
import contextlib
import email
import email.policy
import gzip
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import xml.etree.ElementTree as ET

import dns_server
import mxtest
from mxtest import Log, Wire

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
SCHEMA = os.path.join(TESTS, "report", "feedback.xsd")
WORKING_GROUP_SCHEMA = os.path.join(TESTS, "..", "..", "shared", "corpora", "dmarc-reports",
                                    "schema", "ietf-dmarc-xml-0.2.xsd")
NS = {"d": "urn:ietf:params:xml:ns:dmarc-2.0"}

# 127.0.0.1 may send for "genuine" names and for no other.
PASS = 'TXT "v=spf1 ip4:127.0.0.1 -all"'
FAIL = 'TXT "v=spf1 -all"'


def zone(policy):
    return f'@ {PASS}\nspoof {FAIL}\n_dmarc TXT "v=DMARC1; {policy}"\n'


# One domain for each policy; where its reports go.
ZONES = {
    "none.test": zone("p=none; rua=mailto:d@none.test") + "@ MX 10 mx.reports.test.\n",
    "quarantine.test": zone("p=quarantine; rua=mailto:d@reports.test,mailto:x@silent.test"),
    "reject.test": zone("p=reject; sp=reject; adkim=s; rua=mailto:big@reports.test!10m,"
                        "mailto:small@reports.test!1k"),
    "testing.test": zone("p=reject; t=y; rua=mailto:t@nullmx.test"),
    "quiet.test": zone("p=reject"),
    "reports.test": """
@ MX 5 nowhere.reports.test.
@ MX 10 mx.reports.test.
mx A 127.0.0.1
quarantine.test._report._dmarc TXT "v=DMARC1"
reject.test._report._dmarc TXT "v=DMARC1"
""",
    "silent.test": "@ A 127.0.0.1\n",
    "nullmx.test": '@ MX 0 .\ntesting.test._report._dmarc TXT "v=DMARC1"\n',
    "test": "",  # walks end there
    "receiver.test": 'mx A 127.0.0.1\nmx TXT "v=spf1 ip4:127.0.0.1 -all"\n'
                     '_dmarc TXT "v=DMARC1; p=reject"\n',
}
# Who writes how often: (From domain, envelope domain, messages).
TRAFFIC = [(f"{name}.test", f"{where}{name}.test", count)
           for name, genuine, spoofed in (("none", 3, 2), ("quarantine", 2, 3), ("reject", 4, 5),
                                          ("testing", 1, 2), ("quiet", 1, 1))
           for where, count in (("", genuine), ("spoof.", spoofed))]
# A subdomain without a record of its own belongs to its organization's report.
TRAFFIC.append(("news.reject.test", "spoof.reject.test", 2))


def letter(sender):
    return (f"From: Someone <someone@{sender}>\r\nTo: b@mx.test\r\nSubject: hello\r\n"
            "Date: Sun, 22 Nov 2026 01:02:03 +0000\r\nMessage-ID: <1@x.test>\r\n\r\nHi.\r\n").encode()


class ReportCase(mxtest.TestCase):
    """Each test builds on a log with the same traffic."""

    def setUp(self):
        super().setUp()
        key_dir = os.path.join(self.directory, "keys")
        os.makedirs(key_dir)
        made = json.loads(self.run_client(
            [mxtest.BINARY, "dkim", "keygen", "--domain", "mx.receiver.test", "--selector", "r1",
             "--type", "ed25519", "--out", key_dir, "--json"]).stdout)
        self.key = made["private_key_file"]
        zones = {**ZONES, **getattr(self, "zones", {})}
        key_record = dns_server.strings(made["record_value"])
        zones["receiver.test"] += f"r1._domainkey.mx TXT {key_record}\n"
        zones["none.test"] += f"r1._domainkey TXT {key_record}\n"
        self.dns = self.serve_dns(zones)
        self.auth = {"dns": {"servers": [self.dns.address], "timeout": "10s"},
                     "auth": {"spf": True, "dkim": True, "dmarc": True}}
        self.server = self.serve(self.auth)
        self.sent = self.send_traffic()
        self.out = os.path.join(self.directory, "reports")

    def send_traffic(self):
        """The replies' codes, counted by From domain."""
        codes = collections.Counter()
        with Wire(self.server.address) as wire:
            self.assertTrue(wire.ask("EHLO client.receiver.test").startswith("250"))
            for sender, envelope, count in TRAFFIC:
                for _ in range(count):
                    answer = wire.message(letter(sender), sender=f"a@{envelope}")
                    codes[sender, answer[:3]] += 1
        self.assertEqual(codes["reject.test", "550"], 5)
        self.assertEqual(codes["none.test", "250"], 5)
        return codes

    def report(self, command, *args, code=0):
        done = subprocess.run([mxtest.BINARY, "report", command, *args, "--json",
                               "--resolver", self.dns.address, "--timeout", "10s"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=90)
        self.assertEqual(done.returncode, code, done.stderr.decode() + done.stdout.decode())
        return json.loads(done.stdout) if done.stdout else None

    def build(self, *more, begin="1h", code=0):
        result = self.report("build", self.server.log_dir, "--from", begin, "--to", "2099-01-01",
                             "--out", self.out, "--org", "Receiver & Söhne", "--email",
                             "dmarc@mx.receiver.test", *more, code=code)
        return {r["domain"]: r for r in result["reports"]}, result

    def parse(self, file):
        with gzip.open(file) as packed:
            return ET.fromstring(packed.read())

    def moody(self, *args, **options):
        server = Moody(*args, **options)
        self.addCleanup(server.close)
        return server

    def only(self, domain):
        """The reports about one domain."""
        return [os.path.join(self.out, f) for f in os.listdir(self.out)
                if f"!{domain}!" in f and f.endswith(".xml.gz")]


class Audience(ReportCase):
    """Sixty domains that ask for reports, and of which nothing but failing mail came."""

    def setUp(self):
        self.spam = [f"s{i}.test" for i in range(60)]
        self.zones = {name: zone(f"p=reject; rua=mailto:d@{name}") for name in self.spam}
        super().setUp()

    def send_traffic(self):
        codes = super().send_traffic()
        with Wire(self.server.address) as wire:
            self.assertTrue(wire.ask("EHLO client.receiver.test").startswith("250"))
            for name in self.spam:
                for _ in range(3):
                    answer = wire.message(letter(name), sender=f"a@spoof.{name}")
                    self.assertRegex(answer, r"^550 5\.7\.26")
        return codes

    def names(self):
        return sorted(f.split("!")[1] for f in os.listdir(self.out) if f.endswith(".xml.gz"))

    def test_strangers_get_none(self):
        reports, result = self.build()
        self.assertEqual(set(reports), {"none.test", "quarantine.test", "reject.test",
                                        "testing.test"})
        self.assertEqual(self.names(), sorted(reports))
        self.assertEqual({d["domain"]: d["reason"] for d in result["withheld"]},
                         {name: "none-passed" for name in self.spam})
        sent = self.report("send", self.out, "--attempts", "1", "--connect-timeout", "2s",
                           "--port", str(mxtest.free_port()), code=1)
        self.assertEqual({r["domain"] for r in sent["reports"]} & set(self.spam), set())
        table = subprocess.run(
            [mxtest.BINARY, "report", "build", self.server.log_dir, "--from", "1h", "--to",
             "2099-01-01", "--out", self.out, "--email", "dmarc@mx.receiver.test", "--resolver", self.dns.address],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
        self.assertEqual(table.returncode, 0, table.stderr)
        self.assertIn("\n60 domains get no report: fewer messages that pass DMARC than "
                      "--passes-min\n", table.stdout)

    def test_who_asks_for_it_gets_all_within_the_day(self):
        lists = os.path.join(self.directory, "deny")
        with open(lists, "w") as out:
            out.write("# harmful\ns7.test\nreports.test\n")
        reports, result = self.build("--passes-min", "0", "--deny", lists, "--per-day", "20",
                                     begin="2026-01-01")
        self.assertEqual(len(reports), 20)
        reasons = collections.Counter(d["reason"] for d in result["withheld"])
        self.assertEqual(reasons, {"denied": 1, "day-is-full": 64 - 1 - 20})
        # Those with the most mail, but to no address that is denied.
        written = {d: r["file"] is not None for d, r in reports.items()}
        self.assertEqual((written["none.test"], written["reject.test"]), (True, False))
        # Built again they are the same ones; the day has no room for others.
        again, _ = self.build("--passes-min", "0", "--deny", lists, "--per-day", "20",
                              begin="2026-01-01")
        self.assertEqual(set(again), set(reports))
        with open(lists, "w") as out:
            out.write("s3.test\n")
        only, result = self.build("--passes-min", "0", "--allow", lists)
        self.assertEqual(set(only), {"s3.test"})


class Reports(ReportCase):
    def test_reports_agree_with_the_log(self):
        reports, result = self.build()
        self.assertEqual(set(reports), {"none.test", "quarantine.test", "reject.test",
                                        "testing.test"})
        self.assertEqual(result["messages"], sum(count for _, _, count in TRAFFIC))
        self.assertEqual(result["domains"], 5)  # quiet.test asks for none
        self.assertEqual([(d["address"], d["permission"])
                          for d in reports["quarantine.test"]["destinations"]],
                         [("d@reports.test", "granted"), ("x@silent.test", "not-granted")])
        # RFC 9989 4.7: the size behind an address is of the past.
        self.assertEqual([d["address"] for d in reports["reject.test"]["destinations"]],
                         ["big@reports.test", "small@reports.test"])
        # What went over the wire, in the words of a report.
        wanted = collections.Counter()
        for sender, envelope, count in TRAFFIC:
            domain = ".".join(sender.split(".")[-2:])
            policy = domain.split(".")[0]
            genuine = not envelope.startswith("spoof.")
            if policy == "quiet":
                continue
            applied = {"testing": "quarantine"}.get(policy, policy)
            action = ("none" if policy == "none" else "pass") if genuine else applied
            wanted[domain, sender, envelope, action, "pass" if genuine else "fail"] += count
        found = collections.Counter()
        for domain, report in reports.items():
            root = self.parse(report["file"])
            self.assertEqual(root.findtext("d:policy_published/d:domain", "", NS), domain)
            rows = root.findall("d:record", NS)
            self.assertEqual(len(rows), report["rows"])
            for row in rows:
                self.assertEqual(row.findtext("d:row/d:source_ip", "", NS), "127.0.0.1")
                evaluated = row.find("d:row/d:policy_evaluated", NS)
                count = int(row.findtext("d:row/d:count", "", NS))
                found[domain, row.findtext("d:identifiers/d:header_from", "", NS),
                      row.findtext("d:identifiers/d:envelope_from", "", NS),
                      evaluated.findtext("d:disposition", "", NS),
                      evaluated.findtext("d:spf", "", NS)] += count
                self.assertEqual(row.findtext("d:auth_results/d:spf/d:result", "", NS),
                                 evaluated.findtext("d:spf", "", NS))
        self.assertEqual(found, wanted)
        testing = self.parse(reports["testing.test"]["file"])
        self.assertEqual([e.text for e in testing.iterfind(".//d:reason/d:type", NS)],
                         ["policy_test_mode"])
        self.assertEqual(testing.findtext("d:policy_published/d:testing", "", NS), "y")
        self.assertEqual(testing.findtext("d:policy_published/d:p", "", NS), "reject")
        # Accepted records of the log and refusals make up the same sums.
        self.assertEqual(len(Log(self.server.log_dir).records()),
                         sum(n for (_, code), n in self.sent.items() if code == "250"))

    def test_names_and_building_again(self):
        reports, result = self.build()
        begin, end = self.parse(reports["none.test"]["file"]).find(
            "d:report_metadata/d:date_range", NS)
        name = os.path.basename(reports["none.test"]["file"])
        self.assertEqual(name.split("!"), ["mx.receiver.test", "none.test", begin.text, end.text,
                                           reports["none.test"]["report_id"] + ".xml.gz"])
        self.assertEqual(int(end.text) + 1, 4070908800)  # 2099-01-01, not included
        first, _ = self.build(begin="2026-01-01")
        with open(first["none.test"]["file"], "rb") as file:
            bytes_before = file.read()
        again, _ = self.build(begin="2026-01-01")
        self.assertEqual(first, again)
        with open(again["none.test"]["file"], "rb") as file:
            self.assertEqual(file.read(), bytes_before)

    def test_limits_are_said(self):
        reports, result = self.build("--rows-per-domain", "1")
        # Genuine mail came first, and made the one row there is room for.
        kept = {"none.test": 3, "quarantine.test": 2, "reject.test": 4, "testing.test": 1,
                "quiet.test": 1}
        total = sum(count for _, _, count in TRAFFIC)
        self.assertEqual(result["left_out"], total - sum(kept.values()))
        root = self.parse(reports["none.test"]["file"])
        self.assertEqual(len(root.findall("d:record", NS)), 1)
        self.assertEqual(root.findtext("d:record/d:row/d:count", "", NS), "3")
        self.assertIn("2 of 5 messages are left out",
                      root.findtext("d:report_metadata/d:error", "", NS))

    def test_the_schema(self):
        xmllint = self.need("xmllint")
        reports, _ = self.build("--rows-per-domain", "2")
        self.assertEqual(len(reports), 4)
        plain = os.path.join(self.directory, "report.xml")
        for report in reports.values():
            with gzip.open(report["file"]) as packed, open(plain, "wb") as out:
                out.write(packed.read())
            for schema in filter(os.path.exists, (SCHEMA, WORKING_GROUP_SCHEMA)):
                self.run_client([xmllint, "--noout", "--nonet", "--schema", schema, plain])
        # It does object.
        with open(plain, "r+b") as file:
            damaged = file.read().replace(b"<count>", b"<count>-")
            file.seek(0)
            file.write(damaged)
        done = subprocess.run([xmllint, "--noout", "--nonet", "--schema", SCHEMA, plain],
                              capture_output=True)
        self.assertEqual(done.returncode, 3, done.stderr)

    def test_load_adds_up(self):
        """What the load generator sends, signed and spoofed, is in the reports message by message."""
        self.build(begin="2026-01-01")
        before = self.counts("none.test") + self.counts("reject.test")
        signed = [mxtest.BINARY, "load", f"127.0.0.1:{self.server.port}", "--json", "--size", "2KiB",
                  "--connections", "4"]
        sent = json.loads(self.run_client(
            [*signed, "--messages", "60", "--sign", self.key, "--domain", "none.test", "--selector",
             "r1", "--mail-from", "someone@none.test"]).stdout)
        self.assertEqual(sent["accepted"], 60)
        mixed = json.loads(self.run_client(
            [*signed, "--messages", "90", "--mail-from", "a@reject.test", "--mail-from",
             "b@spoof.reject.test", "--mail-from", "c@spoof.none.test"]).stdout)
        self.assertEqual((mixed["accepted"], [(r["code"], r["count"]) for r in mixed["rejected"]]),
                         (60, [(550, 30)]))
        for name in os.listdir(self.out):
            os.remove(os.path.join(self.out, name))
        reports, _ = self.build(begin="2026-01-01")
        found = self.counts("none.test") + self.counts("reject.test")
        found.subtract(before)
        self.assertEqual({key: count for key, count in found.items() if count}, {
            ("none.test", "none.test", "none", "pass", "pass"): 60,
            ("none.test", "spoof.none.test", "none", "fail", "fail"): 30,
            ("reject.test", "reject.test", "pass", "fail", "pass"): 30,
            ("reject.test", "spoof.reject.test", "reject", "fail", "fail"): 30,
        })
        signatures = collections.Counter()
        for row in self.parse(reports["none.test"]["file"]).findall("d:record", NS):
            for dkim in row.findall("d:auth_results/d:dkim", NS):
                signatures[tuple(e.text for e in dkim)] += int(row.findtext("d:row/d:count", "", NS))
        self.assertEqual(signatures, {("none.test", "r1", "pass"): 60})
        # The log, refusals with it, has as many.
        logged = Log(self.server.log_dir).records("--refused")
        self.assertEqual(sum(report["messages"] for report in reports.values()),
                         sum(not r["dmarc"]["record_domain"].startswith("quiet") for r in logged))

    def counts(self, domain):
        """How many messages the report about a domain has, by what it says of them."""
        found = collections.Counter()
        file, = self.only(domain)
        for row in self.parse(file).findall("d:record", NS):
            evaluated = row.find("d:row/d:policy_evaluated", NS)
            found[domain, row.findtext("d:identifiers/d:header_from", "", NS),
                  *(evaluated.findtext(f"d:{name}", "", NS)
                    for name in ("disposition", "dkim", "spf"))] += int(
                        row.findtext("d:row/d:count", "", NS))
        return found

    def test_sent_and_signed(self):
        reports, _ = self.build()
        second_dir = os.path.join(self.directory, "second")
        os.makedirs(second_dir)
        second = mxtest.Server(second_dir, self.auth)
        self.servers.append(second)
        sending = [self.out, "--port", str(second.port), "--attempts", "1", "--key", self.key,
                   "--domain", "mx.receiver.test", "--selector", "r1"]
        result = self.report("send", *sending, code=1)  # one goes to a null MX
        states = {(r["domain"], d["address"]): d["state"]
                  for r in result["reports"] for d in r["destinations"]}
        self.assertEqual(states, {
            ("none.test", "d@none.test"): "sent",
            ("quarantine.test", "d@reports.test"): "sent",
            ("reject.test", "big@reports.test"): "sent",
            ("reject.test", "small@reports.test"): "sent",
            ("testing.test", "t@nullmx.test"): "refused",
        })
        self.assertEqual((result["sent"], result["refused"], result["too_large"],
                          result["waiting"]), (4, 1, 0, 0))
        used = {d["tls"] for r in result["reports"] for d in r["destinations"]
                if d["state"] == "sent"}
        log = Log(second.log_dir)
        records = log.records()
        self.assertEqual(sorted(r["rcpt_to"][0] if isinstance(r["rcpt_to"][0], str)
                                else r["rcpt_to"][0]["address"] for r in records),
                         ["big@reports.test", "d@none.test", "d@reports.test",
                          "small@reports.test"])
        for record in records:
            self.assertEqual([(s["domain"], s["selector"], s["result"]) for s in record["dkim"]],
                             [("mx.receiver.test", "r1", "pass")])
            self.assertEqual(record["spf"]["result"], "pass")
            self.assertEqual(record["dmarc"]["result"], "pass")
            # It was offered; nobody vouches for the certificate.
            self.assertIn(record["tls"]["version"], ("TLSv1.2", "TLSv1.3"))
            self.assertEqual(used, {f"{record['tls']['version']} {record['tls']['cipher']}"})
            self.check_mail(log.as_received(record["offset"]), reports)
        # What was delivered or refused for good is not sent again.
        again = self.report("send", *sending, code=0)
        self.assertEqual(again["sent"], 4)
        self.assertEqual(len(log.records()), 4)

    def check_mail(self, message, reports):
        parsed = email.message_from_bytes(message, policy=email.policy.default)
        domain = parsed["Subject"].split()[2]
        report = reports[domain]
        self.assertEqual(parsed["Subject"].split(),
                         ["Report", "Domain:", domain, "Submitter:", "mx.receiver.test",
                          "Report-ID:", report["report_id"]])
        self.assertEqual(parsed["From"].addresses[0].addr_spec, "dmarc@mx.receiver.test")
        self.assertEqual(parsed["From"].addresses[0].display_name, "Receiver & Söhne")
        attachment, = parsed.iter_attachments()
        self.assertEqual(attachment.get_content_type(), "application/gzip")
        self.assertEqual(attachment.get_filename(), os.path.basename(report["file"]))
        with open(report["file"], "rb") as file:
            self.assertEqual(attachment.get_content(), file.read())

    def test_put_off_and_tried_again(self):
        self.build()
        moody = self.moody([b"451 4.7.1 greylisted\r\n"])
        sheets = self.only("none.test")
        result = self.report("send", *sheets, "--port", str(moody.port), "--attempts", "1", code=1)
        delivery, = result["reports"][0]["destinations"]
        self.assertEqual((delivery["state"], delivery["reply"]),
                         ("waiting", "451 4.7.1 greylisted"))
        # The next run takes it up again, within one run too.
        moody.replies.append(b"450 4.2.0 once more\r\n")
        result = self.report("send", *sheets, "--port", str(moody.port), "--attempts", "3",
                             "--retry-after", "100ms")
        delivery, = result["reports"][0]["destinations"]
        self.assertEqual((delivery["state"], delivery["attempts"]), ("sent", 3))
        self.assertEqual(len(moody.messages), 1)

    def test_killed_in_the_middle(self):
        """What was delivered before is not sent again, what was not is."""
        self.build()
        sheets = self.only("quarantine.test") + self.only("reject.test")
        moody = self.moody([b"250 ok\r\n", None])  # the second recipient gets no answer
        command = [mxtest.BINARY, "report", "send", *sheets, "--port", str(moody.port),
                   "--resolver", self.dns.address]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            mxtest.wait_until(lambda: moody.silent.is_set(), 20, "the second mail")
            # A second command in the same folder leaves it alone.
            other = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
            self.assertEqual(other.returncode, 1)
            self.assertIn(b"another `mxring report` is at work", other.stderr)
            process.kill()
        self.assertEqual(len(moody.messages), 1)
        moody.silent.clear()
        result = self.report("send", *sheets, "--port", str(moody.port), "--attempts", "1")
        self.assertEqual(sorted(d["state"] for r in result["reports"] for d in r["destinations"]),
                         ["sent", "sent", "sent"])
        ids = {email.message_from_bytes(message)["Message-ID"] for message in moody.messages}
        self.assertEqual((len(moody.messages), len(ids)), (3, 3))

    def test_wrong_use(self):
        self.build()
        for args, code in ((["--key", self.key], 2), ([], 2)):
            done = subprocess.run([mxtest.BINARY, "report", "send", *([self.out] if args else []),
                                   *args], stdin=subprocess.DEVNULL, capture_output=True)
            self.assertEqual(done.returncode, code, done.stderr)
        # A signature of somebody else's would not make the mail pass DMARC.
        done = subprocess.run([mxtest.BINARY, "report", "send", self.out, "--key", self.key,
                               "--domain", "other.test", "--selector", "r1", "--resolver",
                               self.dns.address], stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"says nothing about", done.stderr)
        good = ["--email", "dmarc@mx.receiver.test"]
        for args, words in ((["--to", "now", *good], b"--to needs --from"),
                            (["--from", "1h", "--to", "2h", *good], b"must be later"),
                            (["--from", "yesterday", *good], b"--from yesterday: not a time"),
                            (["--email", "nobody"], b"--email nobody: not an address"),
                            (["--email", "a@b"], b'--email a@b: "b" is not a full domain name; '
                             b"write for example dmarc@mx.example.org")):
            done = subprocess.run([mxtest.BINARY, "report", "build", self.server.log_dir, *args],
                                  stdin=subprocess.DEVNULL, capture_output=True)
            self.assertEqual(done.returncode, 2, args)
            self.assertIn(words, done.stderr)
        done = subprocess.run([mxtest.BINARY, "report", "send", "/nonexistent"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("/nonexistent: no such report or folder\n", done.stderr)

    def test_a_period_without_end_goes_on_till_now(self):
        command = [mxtest.BINARY, "report", "build", self.server.log_dir, "--out", self.out,
                   "--email", "dmarc@mx.receiver.test", "--resolver", self.dns.address]
        records = sum(count for _, _, count in TRAFFIC)
        time.sleep(1.1)  # the second that is running is not over yet
        for period in (["--from", "1h"], ["--from", "1h", "--to", "now"]):
            done = subprocess.run([*command, *period, "--json"], stdin=subprocess.DEVNULL,
                                  capture_output=True, check=True)
            self.assertEqual(json.loads(done.stdout)["records"], records)
        done = subprocess.run([*command, "--from", "2020-01-01", "--to", "2020-01-02"], text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, check=True)
        self.assertRegex(done.stdout.splitlines()[-1],
                         r"^the log holds \d{4}-\d\d-\d\dT\d\d:\d\dZ to (.*T)?\d\d:\d\dZ; "
                         r"see --from and --to$")


class Encryption(ReportCase):
    """`report send` and STARTTLS, where it is offered in all sorts of ways."""

    def setUp(self):
        super().setUp()
        self.build()

    def send(self, server, *args, code=0):
        result = self.report("send", *self.only("none.test"), "--port", str(server.port),
                             "--attempts", "1", *args, code=code)
        delivery, = result["reports"][0]["destinations"]
        return delivery

    def context(self, *hosts):
        certificate = os.path.join(self.directory, "certificate.pem")
        key = os.path.join(self.directory, "certificate.key")
        self.run_client([self.need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                         "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
                         "-days", "9", "-subj", f"/CN={hosts[0]}", "-addext",
                         "subjectAltName=" + ",".join(f"DNS:{h}" for h in hosts)])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context, certificate

    def test_not_offered(self):
        server = self.moody()
        delivery = self.send(server, "--tls", "required", code=1)
        self.assertEqual((delivery["state"], delivery["reply"]),
                         ("waiting", "the server does not offer STARTTLS"))
        self.assertEqual(server.verbs, ["EHLO"])
        delivery = self.send(server)
        self.assertEqual((delivery["state"], delivery["tls"]), ("sent", None))

    def test_not_wanted(self):
        server = self.moody(tls=self.context("mx.test")[0])
        delivery = self.send(server, "--tls", "none")
        self.assertEqual((delivery["state"], delivery["tls"]), ("sent", None))
        self.assertNotIn("STARTTLS", server.verbs)

    def test_everything_is_said_again(self):
        server = self.moody(tls=self.context("mx.test")[0])
        delivery = self.send(server)
        self.assertEqual(delivery["state"], "sent")
        self.assertRegex(delivery["tls"], "^TLSv1.3 TLS_")
        self.assertEqual(server.verbs,
                         ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"])
        self.assertEqual(server.connections, 1)

    def test_closed_behind_the_last_reply(self):
        """The reply that takes the mail counts, also when the end of TLS comes together with it."""
        server = self.moody(tls=self.context("mx.test")[0], hasty=True)
        delivery = self.send(server)
        self.assertEqual((delivery["state"], delivery["attempts"]), ("sent", 1))
        self.assertEqual((self.send(server)["attempts"], len(server.messages)), (1, 1))

    def test_offered_but_not_done(self):
        # 454; garbage instead of a handshake; the connection gone. Each mail goes out in the clear.
        for tls, connections in (("refused", 1), ("garbage", 2), ("closed", 2)):
            shutil.rmtree(self.out)
            self.build()
            server = self.moody(tls=tls)
            delivery = self.send(server, "--tls", "required", code=1)
            self.assertEqual((delivery["state"], server.messages), ("waiting", []), tls)
            server.connections = 0
            delivery = self.send(server)
            self.assertEqual((delivery["state"], delivery["tls"]), ("sent", None), delivery)
            self.assertEqual((len(server.messages), server.connections), (1, connections), tls)

    def test_replies_from_somebody_between(self):
        server = self.moody(tls="injected")
        delivery = self.send(server, code=1)
        self.assertEqual((delivery["state"], delivery["reply"]),
                         ("waiting", "bytes in the clear behind the reply to STARTTLS"))
        self.assertEqual((server.messages, server.connections), ([], 1))

    def test_certificates_checked_when_asked_for(self):
        for hosts, state in ((["mx.other.test"], "waiting"), (["mx.reports.test"], "sent")):
            context, certificate = self.context(*hosts)
            server = self.moody(tls=context)
            delivery = self.send(server, "--tls", "required", "--tls-verify", certificate,
                                 code=0 if state == "sent" else 1)
            self.assertEqual(delivery["state"], state, delivery)
            self.assertEqual(len(server.messages), 1 if state == "sent" else 0)
        done = subprocess.run([mxtest.BINARY, "report", "send", self.out, "--tls-verify", "x.pem",
                               "--resolver", self.dns.address], capture_output=True)
        self.assertEqual(done.returncode, 2, done.stderr)


class Moody:
    """A mail server that answers RCPT with what it is given (None: not at all), then takes mail.
    `tls`: a context, or the way in which STARTTLS goes wrong. `hasty`: ends TLS with the mail."""

    def __init__(self, replies=(), tls=None, hasty=False):
        self.hasty = hasty
        self.replies = list(replies)
        self.tls = tls
        self.messages = []
        self.verbs = []
        self.connections = 0
        self.silent = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def close(self):
        self._listener.close()

    def _run(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with client:
                with contextlib.suppress(OSError):
                    self._talk(client)

    def _talk(self, client, banner=b"220 moody.test\r\n"):
        client.sendall(banner)
        with client.makefile("rb") as lines:
            for line in lines:
                verb = line.split()[0].upper()
                self.verbs.append(verb.decode())
                if verb == b"STARTTLS":
                    return self._start_tls(client)
                if verb == b"EHLO":
                    offer = self.tls is not None and not isinstance(client, ssl.SSLSocket)
                    client.sendall(b"250-moody.test\r\n250 " +
                                   (b"STARTTLS" if offer else b"HELP") + b"\r\n")
                elif verb == b"DATA":
                    client.sendall(b"354 go on\r\n")
                    self.messages.append(b"".join(iter(lines.readline, b".\r\n")))
                    if self.hasty:
                        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                    client.sendall(b"250 taken\r\n")
                    if self.hasty:
                        return client.unwrap()
                elif verb == b"RCPT" and self.replies:
                    reply = self.replies.pop(0)
                    if reply is None:
                        self.silent.set()
                        return client.recv(1)
                    client.sendall(reply)
                else:
                    client.sendall(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
                    if verb == b"QUIT":
                        return None

    def _start_tls(self, client):
        if self.tls == "refused":
            return self._talk(client, b"454 not now\r\n")
        if self.tls == "injected":
            client.sendall(b"220 go\r\n250 all is well\r\n")
            return client.recv(1)
        client.sendall(b"220 go\r\n")
        if self.tls == "closed":
            return None
        if self.tls == "garbage":
            client.recv(1)
            client.sendall(b"500 what is that\r\n")
            return client.recv(1 << 16)
        with self.tls.wrap_socket(client, server_side=True) as encrypted:
            return self._talk(encrypted, b"")


if __name__ == "__main__":
    mxtest.main()
