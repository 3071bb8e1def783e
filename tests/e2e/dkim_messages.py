"""Messages for DKIM, made by a seeded generator: what canonicalization has to get right, and
changes that no signature survives.
"""

import re

WORDS = ("mail from the kitchen about tomorrow we have seven lemons and a quiet afternoon ahead "
         "please answer before noon or never").split()


def _words(random, low, high):
    return " ".join(random.choice(WORDS) for _ in range(random.randint(low, high)))


def _blanks(random):
    return "".join(random.choice(" \t") for _ in range(random.randint(1, 4)))


def _value(random):
    """A field value with folding, repeated and trailing white space, and letters beyond ASCII."""
    value = _words(random, 1, 12)
    if random.random() < 0.4:
        words = value.split(" ")
        for at in range(len(words) - 1):
            if random.random() < 0.4:
                words[at] += random.choice(["\r\n", "", " ", "\t"]) + _blanks(random)
            else:
                words[at] += " "
        value = "".join(words)
    if random.random() < 0.2:
        value += _blanks(random)
    if random.random() < 0.15:
        value += " caf\u00e9 \u2014 \u65e5\u672c"
    return value


def _body_line(random):
    kind = random.random()
    if kind < 0.15:
        return b""
    if kind < 0.2:
        return _blanks(random).encode()
    if kind < 0.25:
        return random.choice([b".", b"..", b".dot", b"From here", b"--", b"=3D="])
    if kind < 0.3:
        return (_words(random, 1, 4) + " ").encode() * random.randint(20, 120)
    if kind < 0.4:
        return bytes(random.choice(range(0x80, 0x100)) for _ in range(random.randint(1, 40)))
    line = _words(random, 1, 12)
    if random.random() < 0.3:
        line = line.replace(" ", _blanks(random))
    if random.random() < 0.2:
        line = _blanks(random) + line
    if random.random() < 0.3:
        line += _blanks(random)
    return line.encode()


def _body(random):
    kind = random.random()
    if kind < 0.06:
        return b""
    if kind < 0.12:
        return b"\r\n" * random.randint(1, 4)
    if kind < 0.16:
        return b" \t\r\n \r\n"
    body = b"".join(_body_line(random) + b"\r\n" for _ in range(random.randint(1, 25)))
    if random.random() < 0.25:
        body += b"\r\n" * random.randint(1, 5)
    if random.random() < 0.1:
        body += b" \r\n\t\r\n\r\n"
    if random.random() < 0.2:
        body = body.removesuffix(b"\r\n")
    return body


def make(random, number, domain):
    """One message from somebody at `domain`, with CRLF line ends."""
    fields = [
        "From: " + random.choice(["a@" + domain, f"Ann <a@{domain}>", f'"Ann, B."\r\n <a@{domain}>',
                                  f" a@{domain} (comment)"]),
        "To: " + ", ".join(f"user{i}@mx.test" for i in range(random.randint(1, 3))),
        "Subject:" + random.choice(["", " ", "  ", "\t"]) + _value(random),
        "Date: Sun, 22 Nov 2026 01:02:03 +0000",
        f"Message-ID: <{number}.{random.randrange(1 << 32)}@{domain}>",
    ]
    if random.random() < 0.4:
        fields += ["MIME-Version: 1.0", "Content-Type: text/plain;\r\n\tcharset=utf-8",
                   "Content-Transfer-Encoding: 8bit"]
    for _ in range(random.choice([0, 0, 1, 2, 3])):
        fields.insert(random.randrange(len(fields) + 1),
                      random.choice(["Comments: ", "Keywords:", "X-Odd:\t", "rEPLY-tO: ",
                                     "List-Id: "]) + _value(random))
    if random.random() < 0.5:
        random.shuffle(fields)
    head = "".join(field + "\r\n" for field in fields).encode()
    return head + b"\r\n" + _body(random)


def _split(message):
    head, end, body = message.partition(b"\r\n\r\n")
    return head + b"\r\n", end[2:], body


def change(random, message):
    """(what, message): the signed message with one change that every canonicalization shows."""
    head, middle, body = _split(message)

    def more_body():
        return "a line at the end", head + middle + body.rstrip() + b"\r\nappended\r\n"

    def other_body():
        letters = [m.start() for m in re.finditer(rb"[A-Za-z]", body)]
        if not letters:
            return more_body()
        at = random.choice(letters)
        return "a letter of the body", head + middle + body[:at] + bytes([body[at] ^ 1]) + body[
            at + 1:]

    def joined_lines():
        at = [m.start() for m in re.finditer(rb"(?<=[a-z])\r\n(?=[a-z])", body)]
        if not at:
            return more_body()
        place = random.choice(at)
        return "two lines joined", head + middle + body[:place] + body[place + 2:]

    def other_field():
        name = random.choice([b"From", b"To", b"Subject", b"Date"])
        match = re.search(rb"(?m)^" + name + rb":(?:.*\r\n)(?:[ \t].*\r\n)*", head)
        field = match[0]
        letters = [m.start() for m in re.finditer(rb"[A-Za-z0-9]", field) if m.start() > len(name)]
        at = random.choice(letters)
        changed = field[:at] + bytes([field[at] ^ 1]) + field[at + 1:]
        return f"a letter of {name.decode()}", head.replace(field, changed, 1) + middle + body

    def other_signature():
        match = re.search(rb"(?s)[;\s]b=(.*?)(?:;|\r\n(?![ \t]))", head)
        at = random.choice([match.start(1) + i for i, c in enumerate(match[1][:-8])
                            if chr(c).isalpha()])
        changed = head[:at] + bytes([head[at] ^ 0x20]) + head[at + 1:]
        return "a letter of b=", changed + middle + body

    def no_subject():
        changed = re.sub(rb"(?m)^Subject:.*\r\n(?:[ \t].*\r\n)*", b"", head, count=1)
        return "no Subject", changed + middle + body

    return random.choice([more_body, other_body, other_body, joined_lines, other_field,
                          other_field, other_signature, no_subject])()
