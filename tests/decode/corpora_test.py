#!/usr/bin/env python3
"""The decoder against what corpora made by others say, and against fields read independently here.

    corpora_test.py WALK_DUMP CORPORA

Each difference that is meant has its reason beside it; an unexplained one fails, and so does a
reason that nothing needs any more.
"""

import collections
import datetime
import email
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

SKIPPED = 77


class Failures:
    def __init__(self):
        self.lines = []
        self.checks = collections.Counter()
        self.used = set()

    def same(self, what, path, wanted, got):
        self.checks[what] += 1
        if wanted != got:
            self.lines.append(f"{what}: {path}\n    wanted {wanted!r}\n    got    {got!r}")

    def excused(self, what, reasons, key, path, wanted, got):
        """`same`, unless `reasons` has the key: then they must differ."""
        if key not in reasons:
            self.same(what, path, wanted, got)
            return
        self.checks[what] += 1
        self.used.add(key)
        if wanted == got:
            self.lines.append(f"{what}: {path}: agrees, but has the reason {reasons[key]!r}")

    def unused(self, reasons):
        for key in reasons:
            if key not in self.used:
                self.lines.append(f"the reason for {key} is needed by nothing")


class Dump:
    def __init__(self, program, folder):
        self.program = program
        self.folder = pathlib.Path(folder)

    def files(self, paths):
        """Each path with what the decoder makes of it."""
        listing = "".join(f"{path}\n" for path in paths).encode()
        run = subprocess.run([self.program], input=listing, stdout=subprocess.PIPE, timeout=300,
                             check=True)
        lines = [line for line in run.stdout.split(b"\n") if line]
        assert len(lines) == len(paths), f"{len(lines)} lines for {len(paths)} files"
        return [(path, json.loads(line)) for path, line in zip(paths, lines)]

    def messages(self, messages):
        """The same of messages made here."""
        paths = []
        for number, message in enumerate(messages):
            path = self.folder / f"{number:04}.eml"
            path.write_bytes(message)
            paths.append(path)
        return [result for _, result in self.files(paths)]

# --- bounces --------------------------------------------------------------------------------------

# Where the fields as a plain reader sees them are not what the decoder says.
BOUNCE_REASONS = {
    "lhost-googleworkspace-01": "its status part names no recipient; X-Failed-Recipients does, and "
    "derived says so",
    "lhost-mcafee-02": "no Status; the code in Diagnostic-Code is told as derived",
    "lhost-mcafee-03": "no Status; the code in Diagnostic-Code is told as derived",
    "lhost-mimecast-02": "the status part is quoted-printable, which the plain reader leaves",
    "rhost-aol-03": "two recipients without an empty line between them",
    "rhost-messagelabs-01": "a line that is no field stands before the recipient's fields",
}
RECIPIENT_FIELDS = ("final-recipient", "original-recipient", "action", "status")


def own_parts(message):
    yield message
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        for part in message.get_payload():
            yield from own_parts(part)


def plain_recipients(part):
    """Groups of fields, as RFC 3464 2.1 has them, read by Python's email."""
    found = []
    for group in part.get_payload() if part.is_multipart() else []:
        fields = {}
        for name, value in group.items():
            value = re.sub(r"\r?\n", "", value).strip()
            if value:
                fields.setdefault(name.lower(), value)
        if not any(name in fields for name in RECIPIENT_FIELDS):
            continue

        def address(name):
            value = fields.get(name)
            return value and value.split(";", 1)[-1].strip().strip("<>").strip()

        def word(name):
            value = fields.get(name)
            return value and value.split("(")[0].strip()

        action = word("action")
        found.append([address("final-recipient"), address("original-recipient"),
                      action and action.lower(), word("status")])
    return found


def check_bounces(dump, corpora, failures):
    paths = sorted((corpora / "bounce-sisimai/bsd").glob("*.eml"))
    recipients = 0
    for path, ours in dump.files(paths):
        facts = ours["facts"]
        message = email.message_from_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
        kinds = [part.get_content_type() for part in own_parts(message)]
        status = next((part for part in own_parts(message) if part.get_content_type() in
                       ("message/delivery-status", "message/global-delivery-status")), None)
        feedback = "message/feedback-report" in kinds
        wanted = "complaint" if feedback and status is None else "bounce" if status else "mail"
        if status is not None and feedback:
            wanted = facts["type"]  # whichever comes first; both occur in this corpus
        if path.stem in ("arf-22", "arf-23", "arf-24"):
            # Microsoft's complaints have no machine-readable part at all.
            wanted = "complaint"
            failures.same("Microsoft's complaints", path, True, any(
                note.startswith("complaint.feedback_type") for note in facts["derived"]))
        failures.same("kind of bounce", path, wanted, facts["type"])
        if facts["type"] != "bounce":
            continue
        wanted = plain_recipients(status)
        recipients += len(wanted)
        got = [[r["final_recipient"], r["original_recipient"], r["action"], r["status"]]
               for r in facts["bounce"]["recipients"]]
        failures.excused("recipients", BOUNCE_REASONS, path.stem, path, wanted, got)
        check_original(path, message, facts, failures)
        failures.same("limits of a bounce", path, [], facts["limits"])
    failures.unused(BOUNCE_REASONS)
    if recipients < 300:
        failures.lines.append(f"only {recipients} recipients in the bounces")


def check_original(path, message, facts, failures):
    """Message-ID of the returned message, from the first part that is one."""
    original = facts["bounce"]["original"]
    for part in list(own_parts(message))[1:]:
        kind = part.get_content_type()
        if kind not in ("message/rfc822", "text/rfc822-headers"):
            continue
        if (part.get("content-transfer-encoding") or "").strip().lower() in (
                "quoted-printable", "base64"):
            return
        inner = part.get_payload(0) if part.is_multipart() else email.message_from_string(
            part.get_payload().lstrip("\r\n"))
        ids = inner.get_all("message-id") or [""]
        wanted = re.sub(r"\s", "", ids[0]).strip("<>") or None
        got = original and original["message_id"]
        failures.same("original's Message-ID", path, wanted, got and re.sub(r"\s", "", got))
        return
    failures.same("no original", path, None, original)


# --- complaints -----------------------------------------------------------------------------------

# Fields that the corpus leaves out and we complete from the message complained of.
DERIVED = {"source_ip": "source_ip", "arrival_date": "arrival_date",
           "reported_domain": "reported_domain", "original_mail_from": "original_mail_from",
           "original_rcpt_to": "original_rcpt_to"}


def enum(value):
    return value if value is None else re.sub(r"[-_ ]", "", value).lower()


def unix(text):
    if text is None:
        return None
    parsed = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    return int(parsed.replace(tzinfo=datetime.timezone.utc).timestamp())


def check_complaints(dump, corpora, failures):
    for path, ours in dump.files(sorted((corpora / "arf-mail-auth").glob("*.eml"))):
        wanted = json.loads(path.with_suffix(".json").read_text())
        facts = ours["facts"]
        failures.same("complaint", path, "complaint", facts["type"])
        got = facts["complaint"]
        derived = {note.split(" ")[0].removeprefix("complaint.") for note in facts["derived"]}

        def same(key, value):
            expected = wanted[key]
            if key in DERIVED and not expected and key in derived:
                return  # completed, and said
            failures.same(f"complaint {key}", path, expected, value)

        for key in ("feedback_type", "auth_failure", "delivery_result", "identity_alignment"):
            expected = enum(wanted[key])
            failures.same(f"complaint {key}", path,
                          None if expected == "unspecified" else expected, enum(got[key]))
        # Addresses are without brackets, as everywhere in this program's JSON.
        wanted["original_mail_from"] = (wanted["original_mail_from"] or "").strip("<>") or None
        same("original_mail_from", got["original_mail_from"])
        wanted["original_rcpt_to"] = (wanted["original_rcpt_to"] or "").strip("<>") or None
        same("original_rcpt_to", got["original_rcpt_to"][0] if got["original_rcpt_to"] else None)
        same("arrival_date", unix(got["arrival_date"]))
        for key in ("original_envelope_id", "reporting_mta", "source_ip", "user_agent",
                    "dkim_domain", "dkim_identity", "dkim_selector", "dkim_selector_dns",
                    "dkim_adsp_dns", "dkim_canonicalized_header", "reported_domain",
                    "reported_uri"):
            same(key, got[key])
        # RFC 6591 3.2.2, base64: white space is none of it.
        body = wanted["dkim_canonicalized_body"]
        failures.same("complaint body", path, body and re.sub(r"\s", "", body),
                      got["dkim_canonicalized_body"])
        # RFC 5322 2.2.3: unfolding takes the line end and leaves the white space.
        results = [re.sub(r"\r?\n", "", text) for text in wanted["authentication_results"]]
        failures.same("complaint authentication_results", path, results,
                      got["authentication_results"])
        failures.same("complaint version", path, wanted["version"], int(float(got["version"])))
        failures.same("complaint incidents", path, wanted["incidents"], int(got["incidents"] or 1))
        failures.same("complaint source_port", path, wanted["source_port"],
                      int(got["source_port"] or 0))


# --- reports --------------------------------------------------------------------------------------


def check_tls_reports(dump, corpora, failures):
    folder = corpora / "tlsrpt-mail-auth"
    for path, ours in dump.files(sorted(folder.glob("*.eml")) + sorted(folder.glob("*.json"))):
        facts = ours["facts"]
        failures.same("TLS report", path, "tls_report", facts["type"])
        if path.suffix == ".json":
            failures.same("TLS report unchanged", path, json.loads(path.read_text()),
                          facts["tls_report"])
            continue
        wanted = json.loads(path.with_suffix(".json").read_text())
        failures.same("TLS report in mail", path, wanted, facts["tls_report"])
        failures.same("TLS report's key", path,
                      f"{wanted['organization-name']}!{wanted['report-id']}",
                      facts["tls_report_key"])

# The corpus has other words for these (RFC 7489 appendix C: mfrom; sampled_out, gone in RFC 9990).
WORDS = {"mfrom": "mailfrom", "sampledout": "other"}
ALIGNMENT = {"r": "relaxed", "s": "strict"}


def plain_dmarc(report):
    """Our report in the words of the corpus."""
    published = report["policy_published"]
    policy = {key: enum(published[key]) for key in ("p", "sp")}
    policy["adkim"] = ALIGNMENT.get(published["adkim"], published["adkim"])
    policy["aspf"] = ALIGNMENT.get(published["aspf"], published["aspf"])
    policy["domain"] = published["domain"]
    rows = []
    for record in report["record"]:
        row = record["row"]
        evaluated = row["policy_evaluated"]
        rows.append({
            "source_ip": row["source_ip"], "count": row["count"],
            "evaluated": [enum(evaluated[key]) for key in ("disposition", "dkim", "spf")],
            "reasons": [[WORDS.get(enum(r["type"]), enum(r["type"])), r["comment"]]
                        for r in evaluated["reason"]],
            "identifiers": [record["identifiers"][key] or "" for key in
                            ("header_from", "envelope_from", "envelope_to")],
            "dkim": [[a["domain"], a["selector"] or "", enum(a["result"]), a["human_result"]]
                     for a in record["auth_results"]["dkim"]],
            "spf": [[a["domain"],
                     WORDS.get(enum(a["scope"]), enum(a["scope"])), enum(a["result"]), a["human_result"]]
                    for a in record["auth_results"]["spf"]],
        })
    return policy, rows


def unspecified(value):
    value = enum(value)
    return None if value == "unspecified" else value


def wanted_dmarc(report):
    published = report["policy_published"]
    policy = {key: unspecified(published[key]) for key in ("p", "sp", "adkim", "aspf")}
    policy["domain"] = published["domain"]
    rows = []
    for record in report["record"]:
        row = record["row"]
        evaluated = row["policy_evaluated"]
        rows.append({
            "source_ip": row["source_ip"], "count": row["count"],
            "evaluated": [unspecified(evaluated[key]) for key in ("disposition", "dkim", "spf")],
            "reasons": [[unspecified(r["type_"]), r["comment"]] for r in evaluated["reason"]],
            "identifiers": [record["identifiers"][key] or "" for key in
                            ("header_from", "envelope_from", "envelope_to")],
            "dkim": [[a["domain"], a["selector"], unspecified(a["result"]), a["human_result"]]
                     for a in record["auth_results"]["dkim"]],
            "spf": [[a["domain"], unspecified(a["scope"]), unspecified(a["result"]),
                     a["human_result"]] for a in record["auth_results"]["spf"]],
        })
    return policy, rows


def check_dmarc_reports(dump, corpora, failures):
    folder = corpora / "dmarc-reports"
    paths = [path for path in sorted((folder / "mail-auth").iterdir()) if path.suffix != ".json"]
    for path, ours in dump.files(paths):
        wanted = json.loads(path.with_suffix(".json").read_text())
        facts = ours["facts"]
        failures.same("DMARC report", path, "dmarc_report", facts["type"])
        got = facts["dmarc_report"]
        for key in ("org_name", "email", "extra_contact_info", "report_id", "date_range"):
            failures.same(f"DMARC {key}", path, wanted["report_metadata"][key],
                          got["report_metadata"][key])
        failures.same("DMARC key", path, f"{wanted['report_metadata']['org_name']}!"
                      f"{wanted['report_metadata']['report_id']}", got["key"])
        policy, rows = wanted_dmarc(wanted)
        own_policy, own_rows = plain_dmarc(got)
        failures.same("DMARC policy", path, policy, own_policy)
        failures.same("DMARC rows", path, rows, own_rows)
    # The same report in three wrappings.
    packed = [folder / f"perl-mail-dmarc/test_dmarc.xml{end}" for end in ("", ".gz", ".zip")]
    reports = [ours["facts"]["dmarc_report"] for _, ours in dump.files(packed)]
    failures.same("DMARC report unpacked", packed[1], reports[0], reports[1])
    failures.same("DMARC report unpacked", packed[2], reports[0], reports[2])
    for path, ours in dump.files(sorted((folder / "opendmarc").glob("*.xml"))):
        check_opendmarc(path, ours["facts"], failures)


def check_opendmarc(path, facts, failures):
    """Rows counted in the text; the one that is no XML ends where it breaks, and says so."""
    text = path.read_bytes()
    failures.same("DMARC report of opendmarc", path, "dmarc_report", facts["type"])
    broken = any("XML" in note for note in facts["defects"])
    failures.same("broken XML", path, path.name.startswith(("bad.com", "yeah.net", "163.com"))
                  and is_broken(text), broken)
    if not broken:
        failures.same("rows", path, text.count(b"<record>"), facts["dmarc_report"]["rows"])
        counts = [int(count) for count in re.findall(rb"<count>\s*(\d+)", text)]
        failures.same("messages", path, sum(counts), facts["dmarc_report"]["messages"])


def is_broken(text):
    import xml.parsers.expat
    parser = xml.parsers.expat.ParserCreate()
    try:
        parser.Parse(text, True)
    except xml.parsers.expat.ExpatError:
        return True
    return False


# --- plain mail -----------------------------------------------------------------------------------


def leaf_contents(message):
    """Digests of attachments in a parsed message of the corpus, those of its own level only."""
    found = []
    for part in message["parts"]:
        body = part["body"]
        kind, value = next(iter(body.items())) if isinstance(body, dict) else (body, None)
        if kind in ("Binary", "InlineBinary"):
            found.append(hashlib.sha256(bytes(value)).hexdigest())
    return found


def joined(message, which, kind):
    texts = []
    for number in message[which]:
        body = message["parts"][number]["body"]
        if isinstance(body, dict) and kind in body:
            texts.append(body[kind].replace("\r\n", "\n"))
    return texts

# Text bodies that differ.
MAIL_REASONS = {
    "thirdparty/002": "base64 with a foreign byte: it is passed over, and the digits after it are "
    "decoded (RFC 2045 6.8)",
    "thirdparty/005": "it ends in \"invalid--1--\": a delimiter begins a line (RFC 2046 5.1.1)",
}


def check_mail(dump, corpora, failures):
    paths = sorted((corpora / "mime-mail-parser/resources/eml").rglob("*.eml"))
    for path, ours in dump.files(paths):
        wanted = json.loads(path.with_suffix(".json").read_text())
        message = ours["facts"]["message"]
        texts = joined(wanted, "text_body", "Text")
        own = message["text"]
        key = f"{path.parent.name}/{path.stem}"
        failures.excused("text", MAIL_REASONS, key, path, "\n".join(texts).split(),
                         (own or "").split())
        htmls = joined(wanted, "html_body", "Html")
        failures.excused("html", MAIL_REASONS, key + " html", path, "\n".join(htmls).split(),
                         (message["html"] or "").split())
        digests = [a["sha256"] for a in message["attachments"]]
        missing = [d for d in leaf_contents(wanted) if d not in digests]
        failures.excused("attachments", MAIL_REASONS, key + " attachments", path, [], missing)
    failures.unused(MAIL_REASONS)


def main(program, corpora):
    corpora = pathlib.Path(corpora)
    if not (corpora / "bounce-sisimai").is_dir():
        print(f"skipped: no corpora in {corpora}")
        return SKIPPED
    failures = Failures()
    with tempfile.TemporaryDirectory() as folder:
        dump = Dump(program, folder)
        check_bounces(dump, corpora, failures)
        check_complaints(dump, corpora, failures)
        check_tls_reports(dump, corpora, failures)
        check_dmarc_reports(dump, corpora, failures)
        check_mail(dump, corpora, failures)
    for what, count in sorted(failures.checks.items()):
        print(f"{count:5} {what}")
    for line in failures.lines:
        print("FAILED", line)
    return 1 if failures.lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
