"""`mxring decode` as its user meets it: what README.md shows, exit codes, and documented keys."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import mxtest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests/decode/samples"


def decode(*arguments, data=None):
    return subprocess.run([mxtest.BINARY, "decode", *arguments], input=data, cwd=SAMPLES,
                          capture_output=True, timeout=60)


class Readme(unittest.TestCase):
    def test_shows_what_the_program_prints(self):
        text = (ROOT / "README.md").read_text()
        section = text[text.index("## Bounces, complaints"):text.index("## TLS\n")]
        block = section.split("```")[1].strip("\n")
        environment = dict(os.environ, PATH=os.path.dirname(mxtest.BINARY) + ":" +
                           os.environ["PATH"])
        commands = re.split(r"^\$ ", block, flags=re.M)[1:]
        self.assertGreater(len(commands), 6)
        for part in commands:
            command, _, wanted = part.partition("\n")
            # --exact: the note about line ends is no part of what is shown.
            run = subprocess.run(["sh", "-c", command.replace("decode ", "decode --exact ", 1)],
                                 cwd=SAMPLES, env=environment, capture_output=True, text=True,
                                 timeout=60)
            self.assertEqual((run.stdout + run.stderr).strip(), wanted.strip(), command)


class Command(unittest.TestCase):
    def test_kind_by_kind(self):
        for name, kind, word in (("bounce", "bounce", "dsn"), ("complaint", "complaint", "arf"),
                                 ("dmarc", "dmarc_report", "dmarc"), ("tls", "tls_report", "tls"),
                                 ("journal", "journal_report", "journal"), ("mail", "mail", "mail")):
            for how in ("auto", word):
                run = decode("--json", "--as", how, f"{name}.eml")
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertEqual(run.stdout.count(b"\n"), 1)
                facts = json.loads(run.stdout)
                self.assertEqual(facts["type"], kind)
                key = "journal" if kind == "journal_report" else kind
                for other in ("bounce", "complaint", "dmarc_report", "tls_report", "journal"):
                    self.assertEqual(facts[other] is not None, other == key, other)

    def test_a_wrong_kind_is_an_error(self):
        for word in ("arf", "dmarc", "tls", "journal"):
            run = decode("--as", word, "--json", "bounce.eml")
            self.assertEqual(run.returncode, 1)
            self.assertEqual(run.stdout, b"")
            self.assertIn(b"mxring: not a", run.stderr)
        self.assertEqual(decode("--as", "dsn", "mail.eml").returncode, 1)

    def test_usage(self):
        for arguments in (("--as", "pdf"), ("--bounce-token", "X: *"), ("--max-decoded", "much"),
                          ("--max-rows", "x")):
            run = decode(*arguments, "mail.eml")
            self.assertEqual(run.returncode, 2, arguments)
            self.assertEqual(run.stdout, b"")
            self.assertIn(b"mxring", run.stderr)
        self.assertEqual(decode("nothing.eml").returncode, 1)

    def test_standard_input_and_files_of_reports(self):
        run = decode("--json", data=(SAMPLES / "mail.eml").read_bytes())
        self.assertEqual(json.loads(run.stdout)["message"]["message_id"], "m1@example.org")
        run = decode("--json", "-", data=b'{"report-id":"r","policies":[]}')
        self.assertEqual(json.loads(run.stdout)["tls_report_key"], "!r")
        run = decode("-", data=b"<html></html>")
        self.assertEqual((run.returncode, run.stdout), (1, b""))
        self.assertIn(b"begins like a report", run.stderr)

    def test_budgets_and_content(self):
        run = decode("--json", "--max-rows", "1", "dmarc.eml")
        facts = json.loads(run.stdout)
        self.assertEqual(facts["dmarc_report"]["rows"], 1)
        self.assertEqual(facts["limits"], ["rows"])
        run = decode("--json", "--content", "mail.eml")
        attachment = json.loads(run.stdout)["message"]["attachments"][0]
        self.assertEqual(attachment["content_base64"], "YSxiCjEsMgo=")
        self.assertEqual(attachment["name"], "übersicht.csv")

    def test_tokens(self):
        for arguments in (("--bounce-token", "X-Campaign: {}"),
                          ("--bounce-token", "X-None: {}", "--bounce-token", "X-Campaign: {}"),
                          ("--bounce-token", "recipient: v-{}@x", "--recipient", "v-c77@x")):
            run = decode("--json", *arguments, "bounce.eml")
            self.assertEqual(json.loads(run.stdout)["bounce"]["token"], "c77", arguments)

    def test_tokens_of_a_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / "mxring.toml"
            config.write_text('[decode]\nbounce_tokens = ["X-None: {}", "X-Campaign: {}"]\n')
            run = decode("--json", "-c", config, "bounce.eml")
            self.assertEqual(json.loads(run.stdout)["bounce"]["token"], "c77")
            run = decode("--json", "-c", config, "--bounce-token", "recipient: bounces+{}@*",
                         "bounce.eml")
            self.assertEqual(json.loads(run.stdout)["bounce"]["token"], "7f3a")
            config.write_text('[decode]\nbounce_tokens = ["X-Campaign: {}",\n "X-Campaign: *"]\n')
            run = decode("--json", "-c", config, "bounce.eml")
            self.assertEqual((run.returncode, run.stdout), (78, b""))
            self.assertIn(b"mxring.toml:3:2: decode.bounce_tokens", run.stderr)

    def test_a_journal_of_google(self):
        facts = json.loads(decode("--json", "journal-google.eml").stdout)
        self.assertEqual(facts["type"], "journal_report")
        self.assertEqual(facts["journal"]["sender"], "carol@corp.example")
        self.assertEqual(facts["journal"]["to"], ["dave@corp.example"])
        self.assertEqual(facts["journal"]["bcc"], ["boss@corp.example"])
        self.assertEqual(facts["journal"]["recipients"], ["erin@example.net"])
        self.assertEqual(facts["journal"]["original"]["message_id"], "o2@corp.example")
        self.assertEqual((facts["derived"], facts["defects"]), ([], []))


class Keys(unittest.TestCase):
    def test_every_key_is_documented(self):
        documented = set(re.findall(r"[a-z0-9_]+", (ROOT / "src/decode/JSON.md").read_text()))
        seen = set()

        def walk(value):
            if isinstance(value, dict):
                for key, inner in value.items():
                    seen.add(key)
                    if key != "tls_report":  # RFC 8460's own
                        walk(inner)
            elif isinstance(value, list):
                for inner in value:
                    walk(inner)

        for sample in sorted(SAMPLES.glob("*.eml")):
            walk(json.loads(decode("--json", "--content", sample.name).stdout))
        self.assertGreater(len(seen), 80)
        self.assertEqual(sorted(seen - documented), [])


if __name__ == "__main__":
    mxtest.main()
