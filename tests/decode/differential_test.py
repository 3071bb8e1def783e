#!/usr/bin/env python3
"""The walker against Python's email over every message of the corpora: structure, types, decoded
bytes, field names and header text. Where they disagree the RFC decides, and the reason stands here:
a disagreement that no reason explains fails, and so does a reason that explains nothing.

    differential_test.py WALK_DUMP CORPORA
"""

import collections
import email
import email.policy
import hashlib
import json
import pathlib
import re
import subprocess
import sys

SKIPPED = 77

# What Python does differently, and why the walker is right.
REASONS = {
    "encoded message": "RFC 2046 5.2.1 forbids an encoding for message/rfc822: its bytes are one "
    "part; Python parses the base64 text as a message",
    "folded boundary": "RFC 5322 2.2.3: folding in a quoted boundary is unfolded; Python keeps the "
    "line end in it and finds no part",
    "folded type": "RFC 2045 5.1 wants a semicolon before a parameter; without it Python takes the "
    "whole line for the subtype",
    "no delimiter after it": "RFC 2046 5.1.1: the line end belongs to the delimiter after it; "
    "without one it belongs to the part",
    "multipart without parts": "RFC 2046 5.1.1: the line end before the outer delimiter is not of "
    "the part; Python keeps it when a multipart has no part",
    "white space at line ends": "RFC 2045 6.7 (3): quoted-printable drops it; Python keeps it",
    "bare =": "RFC 2045 6.7 leaves open what an = without digits means; both keep it, and differ "
    "in the line end after it",
    "base64 cut short": "RFC 2045 6.8: the digits that are there are decoded; Python gives the "
    "text back undecoded",
    "encoding's name": "RFC 2045 6.1: white space after the encoding's name is no part of it; "
    "Python compares it as well",
    "character in two words": "RFC 2047 5 wants whole characters in each word; Python decodes the "
    "pieces alone, the walker joins words of the same charset",
}


def python_parts(message, depth=0):
    yield depth, message
    kind = message.get_content_type()
    if not message.is_multipart():
        return
    # Python parses a feedback report and a delivery status as messages as well; the walker leaves
    # them to whoever knows their grammar.
    if kind.startswith("message/") and kind not in ("message/rfc822", "message/global"):
        return
    for part in message.get_payload():
        yield from python_parts(part, depth + 1)


def structure_reason(theirs, ours, parts):
    if any("\n" in kind for _, kind in theirs):
        return "folded type"
    for _, part in parts:
        if part.get_content_type() == "message/rfc822" and \
                part.get("content-transfer-encoding", "").strip().lower() == "base64":
            return "encoded message"
        boundary = part.get_boundary()
        if boundary and "\n" in part.get_param("boundary", ""):
            return "folded boundary"
    return None


def bytes_reason(part, theirs, size):
    payload = part.get_payload()
    name = part.get("content-transfer-encoding", "7bit")
    encoding = name.strip().lower()
    if name != name.strip() and encoding != "7bit":
        return "encoding's name"
    if part.get_content_maintype() == "multipart":
        return "multipart without parts" if size + 1 == len(theirs) else None
    if encoding == "quoted-printable":
        if re.search(r"[ \t]\r?(\n|$)", payload):
            return "white space at line ends"
        if re.search(r"=(?![0-9A-Fa-f]{2}|\r?\n|$)", payload):
            return "bare ="
        return None
    if encoding == "base64":
        digits = re.sub(r"[^A-Za-z0-9+/]", "", payload)
        return "base64 cut short" if len(digits) % 4 else None
    return "no delimiter after it" if size in (len(theirs) + 1, len(theirs) + 2) else None


class Comparison:
    def __init__(self):
        self.failures = []
        self.used = collections.Counter()
        self.parts = 0
        self.texts = 0

    def disagree(self, reason, path, what):
        if reason is None:
            self.failures.append(f"{path}: {what}")
        else:
            self.used[reason] += 1

    def compare(self, path, data, ours):
        message = email.message_from_bytes(data)
        parts = list(python_parts(message))
        theirs = [(depth, part.get_content_type()) for depth, part in parts]
        seen = [(part["depth"], part["type"]) for part in ours["parts"]]
        if theirs != seen:
            reason = structure_reason(theirs, seen, parts)
            self.disagree(reason, path, f"parts: Python {theirs}, walker {seen}")
            return
        for (_, part), own in zip(parts, ours["parts"]):
            self.parts += 1
            names = [name for name in part.keys()]
            own_names = [field[0] for field in own["fields"]]
            if names != own_names:
                self.disagree(None, path, f"fields: Python {names}, walker {own_names}")
            if part.is_multipart():
                continue
            content = part.get_payload(decode=True) or b""
            if hashlib.sha256(content).hexdigest() != own["sha256"]:
                self.disagree(bytes_reason(part, content, own["size"]), path,
                              f"{own['type']}: Python {len(content)} bytes, walker {own['size']}")
        self.compare_texts(path, data, ours["parts"][0]["fields"])

    def compare_texts(self, path, data, fields):
        policy = email.policy.default
        for (name, raw), (_, text) in zip(email.message_from_bytes(data).raw_items(), fields):
            if name.lower() not in ("subject", "comments", "organization", "x-mailer",
                                    "x-original-to", "thread-topic", "list-id"):
                continue
            self.texts += 1
            value = str(policy.header_fetch_parse("subject", raw))
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            if value.split() != text.split():
                reason = "character in two words" if raw.count("=?") > 1 else None
                self.disagree(reason, path, f"{name}: Python {value!r}, walker {text!r}")


def main(dump, corpora):
    files = sorted(str(path) for path in pathlib.Path(corpora).rglob("*.eml"))
    if not files:
        print(f"skipped: no corpora in {corpora}")
        return SKIPPED
    listing = "".join(file + "\n" for file in files)
    run = subprocess.run([dump], input=listing.encode(), stdout=subprocess.PIPE, timeout=300,
                         check=True)
    lines = [line for line in run.stdout.split(b"\n") if line]
    comparison = Comparison()
    if len(lines) != len(files):
        comparison.failures.append(f"{len(lines)} lines for {len(files)} files")
    for line in lines:
        ours = json.loads(line)
        comparison.compare(ours["path"], pathlib.Path(ours["path"]).read_bytes(), ours)
    print(f"{len(files)} messages, {comparison.parts} parts, {comparison.texts} header texts")
    for reason, text in REASONS.items():
        print(f"{comparison.used[reason]:4} {reason}: {text}")
        if comparison.used[reason] == 0:
            comparison.failures.append(f"nothing needs the reason {reason!r}")
    for failure in comparison.failures:
        print("FAILED", failure)
    if comparison.parts < 1000:
        print(f"FAILED: only {comparison.parts} parts compared")
        return 1
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
