"""Mail made to cost the receiver more than it costs its sender: one generator of (name, message),
the zone that its signatures and senders need, and ordinary mail of any size to compare it with.

`COUNTER` in a message stands for eight digits that are different in each: names that no cache has.
"""

import base64
import hashlib
import itertools
import json
import os
import subprocess

import mxtest

COUNTER = b"@@@@@@@@"
SENDER = "a@client.test"
BODY_HASH = base64.b64encode(hashlib.sha256(b"hi\r\n").digest()).decode()
LINE = b"An ordinary line of an ordinary message, as people and programs write them.\r\n"


def der(tag, content):
    size = len(content)
    if size < 128:
        head = bytes([size])
    else:
        octets = (size.bit_length() + 7) // 8
        head = bytes([0x80 | octets]) + size.to_bytes(octets, "big")
    return bytes([tag]) + head + content


def rsa_key(exponent):
    """A public key of 4096 bits that nobody has the other half of."""
    def integer(number):
        return der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))
    modulus = int.from_bytes(b"\xff" + os.urandom(510) + b"\xff", "big")
    return "v=DKIM1; p=" + base64.b64encode(
        der(0x30, integer(modulus) + integer(exponent))).decode()


def folded(text):
    return "\r\n ".join(text[i:i + 900] for i in range(0, len(text), 900))


BITS = folded(base64.b64encode(b"\x7f" + os.urandom(511)).decode())
ED_BITS = base64.b64encode(os.urandom(63) + b"\0").decode()


def signature(selector, more="", names="from", canon="relaxed/relaxed", algorithm="rsa-sha256"):
    bits = BITS if algorithm == "rsa-sha256" else ED_BITS
    return (f"DKIM-Signature: v=1; a={algorithm}; c={canon}; d=client.test; s={selector}; "
            f"{more}h={names}; bh={BODY_HASH};\r\n b={bits}\r\n")


def chain(sets, selector, canons=("relaxed/relaxed",), algorithm="rsa-sha256"):
    bits = BITS if algorithm == "rsa-sha256" else ED_BITS
    out = ""
    for i in range(sets, 0, -1):
        status = "none" if i == 1 else "pass"
        out += (f"ARC-Seal: i={i}; a={algorithm}; cv={status}; d=client.test; s={selector}; b={bits}\r\n"
                f"ARC-Message-Signature: i={i}; a={algorithm}; c={canons[i % len(canons)]}; "
                f"d=client.test; s={selector}; h=from; bh={BODY_HASH}; b={bits}\r\n"
                f"ARC-Authentication-Results: i={i}; x.test; none\r\n")
    return out


def with_from(header, body="hi"):
    return (header + f"From: {SENDER}\r\n\r\n{body}\r\n").encode()


def ten(selector, **rest):
    return "".join(signature(selector, f"t={i}; ", **rest) for i in range(10))


def colliding(names):
    """Field names that differ in one bit each, and h= that asks for others of the kind."""
    fields = "".join(f"{name}: x\r\n" for name in names[:985])
    wanted, room = ["from"], 128 * 1024 - len(fields) - 2000
    for name in itertools.cycle(names[-30:]):
        room -= len(name) + 2
        if room < 0:
            break
        wanted.append(name)
    h = ":\r\n ".join(":".join(wanted[i:i + 60]) for i in range(0, len(wanted), 60))
    return with_from(signature("few", names=h) + fields)


def of_signatures():
    """Public-key operations."""
    yield "50 ARC sets, exponents of 64 bits", with_from(chain(50, "big") + ten("big"))
    yield "15 ARC sets and 10 signatures, two keys each", with_from(chain(15, "two") + ten("two"))
    yield "10 signatures, two keys of 4096 bits each", with_from(ten("two"))
    yield "2 ARC sets and a signature, two keys each", with_from(
        chain(2, "two") + signature("two"))
    yield "10 Ed25519 signatures, two keys each", with_from(
        ten("twoed", algorithm="ed25519-sha256"))
    yield "5 ARC sets of Ed25519, two keys each", with_from(
        chain(5, "twoed", algorithm="ed25519-sha256"))


def of_headers():
    yield "field names that differ in one bit", colliding(
        ["".join(letters) for letters in itertools.product("[{", repeat=10)])
    yield "5 signatures that sign everything", with_from(
        "".join(signature("few", f"t={i}; ", ":".join(["x-f"] * 900 + ["from"]))
                for i in range(5)) + "X-F: y\r\n" * 900)
    names = [f"{a}{b}" for a in "abcdefghijklmnopqrstuvwxyz0123456789"
             for b in "abcdefghijklmnopqrstuvwxyz"][:930]
    yield "10 signatures that sign 930 fields in another order", with_from(
        "".join(signature("few", f"t={i}; ", ":\r\n ".join(
            ":".join(names[at:at + 200]) for at in range(0, 930, 200)) + ":from")
                for i in range(10)) + "".join(f"{name}:\r\n" for name in names))
    yield "10 signatures of 5,000 empty names", with_from(
        "".join(signature("few", f"t={i}; ", "from" + ":\r\n a" * 5 + ":" * 5000)
                for i in range(10)))
    yield "10 signatures of 30 tags", with_from(
        "".join(signature("few", "".join(f"x{i}{k}=;" for k in range(30))) for i in range(10)))
    yield "990 fields of two bytes", with_from("a:\r\n" * 990)
    yield "one field of 40,000 lines", with_from("X-F: a\r\n" + " b\r\n" * 29_000)
    yield "broken From of 60 KB", (
        "From: Foo, " + "=?utf-8?Q?a=40client.test?= (x) \"y\" \\z \r\n " * 1500 +
        f"<{SENDER}>\r\n\r\nhi\r\n").encode()
    yield "From of 4 KB in broken syntax", (
        "From: Foo, " + "=?utf-8?Q?a=40client.test?= (x) \"y\" \\z \r\n " * 80 +
        f"<{SENDER}>\r\n\r\nhi\r\n").encode()
    yield "900 results with nested comments", with_from(
        ("Authentication-Results: " + "(" * 30 + ")" * 30 + "\"mx.test\" x\r\n") * 900)


def of_bodies():
    blanks = ((b"a  " * 300)[:-1] + b"\r\n").decode()
    body = blanks * (1_000_000 // len(blanks))
    forms = ("simple/simple", "relaxed/relaxed")
    yield "ten different l=, a body of blanks", with_from(
        "".join(signature("few", f"l={2_000_000 + i}; ") for i in range(10)), body)
    yield "every form of the body, a body of blanks", with_from(
        chain(3, "few", forms) + "".join(signature("few", canon=form) for form in forms) +
        "".join(signature("few", f"l={900_000 + i}; ") for i in range(2)), body)
    for name, text in (("a blank", "a \r\n"), ("a tab", "\ta\t\tb\r\n"), ("nothing", "\r\n"),
                       ("a dot", ".\r\n"), ("a letter", "a\r\n")):
        yield f"every form of the body, lines of {name}", with_from(
            chain(2, "few", forms) + "".join(signature("few", canon=form) for form in forms),
            text * (300_000 // len(text)) + "x")


def of_names():
    """Names that no cache has: the most questions of every method."""
    yield "SPF of 10 lookups, 10 keys, a deep From, none known", (
        "".join(
            f"DKIM-Signature: v=1; a=ed25519-sha256; d=client.test; s=k{i}.{COUNTER.decode()}.none; "
            f"h=from; bh={BODY_HASH}; b={ED_BITS}\r\n" for i in range(10)) +
        f"From: a@a.b.c.d.e.f.g.{COUNTER.decode()}.deep.test\r\n\r\nhi\r\n").encode()
    yield "an ordinary one, no name known", (
        f"DKIM-Signature: v=1; a=ed25519-sha256; d=client.test; s=k.{COUNTER.decode()}.none; "
        f"h=from; bh={BODY_HASH}; b={ED_BITS}\r\n"
        f"From: a@{COUNTER.decode()}.deep.test\r\n\r\nhi\r\n").encode()


def hostile():
    yield from of_signatures()
    yield from of_headers()
    yield from of_bodies()
    yield from of_names()


class Maker:
    """Ordinary mail, and the zone for it and for the hostile."""

    def __init__(self, directory):
        self.zone = {
            "client.test": [("TXT", "v=spf1 ip4:127.0.0.1 -all")],
            "_dmarc.client.test": [("TXT", "v=DMARC1; p=none")],
            "*.wide.test": [("TXT", "v=spf1 " + " ".join(
                f"include:%{{l}}.i{i}.incl.test" for i in range(10)) + " -all")],
            "*.incl.test": [("TXT", "v=spf1 ip4:192.0.2.1 -all")],
            "big._domainkey.client.test": [("TXT", rsa_key(2**64 - 1))],
            "few._domainkey.client.test": [("TXT", rsa_key(65537))],
            "two._domainkey.client.test": [("TXT", rsa_key(65537)), ("TXT", rsa_key(65537))]}
        self.key, record = self._keygen(directory, "own", "rsa")
        self.zone["own._domainkey.client.test"] = [("TXT", record)]
        self.zone["twoed._domainkey.client.test"] = [
            ("TXT", self._keygen(directory, f"ed{i}", "ed25519")[1]) for i in range(2)]

    @staticmethod
    def _keygen(directory, selector, kind):
        made = json.loads(subprocess.run(
            [mxtest.BINARY, "dkim", "keygen", "--domain", "client.test", "--selector", selector,
             "--type", kind, "--out", directory, "--json"],
            capture_output=True, check=True, timeout=60).stdout)
        return made["private_key_file"], made["record_value"]

    def ordinary(self, size):
        message = (b"From: Ann <a@client.test>\r\nTo: b@mx.test\r\nSubject: news\r\n"
                   b"Date: Sun, 22 Nov 2026 01:02:03 +0000\r\nMessage-ID: <1@client.test>\r\n\r\n")
        message += LINE * max(1, (size - len(message) - 500) // len(LINE))
        return subprocess.run(
            [mxtest.BINARY, "dkim", "sign", "--key", self.key, "--domain", "client.test",
             "--selector", "own", "--exact"], input=message, capture_output=True, check=True,
            timeout=60).stdout
