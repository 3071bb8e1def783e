"""Every refusal on the wire is counted once and has its line in the journal, and no other is.

Plays the dialogues of tests/smtp, smuggled ends of data, broken mail and the seeds of fuzzers to
whole servers: each group of commands at once, then everything at once, and every connection is read
to its end. What was read is then compared with /metrics and with the journal's lines, one by one.
"""

import collections
import concurrent.futures
import contextlib
import glob
import json
import os
import re
import select
import socket
import ssl
import threading

import abuse
import mxtest

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
SHARED = os.path.join(TESTS, "..", "..", "shared")
DIALOGUES = sorted(glob.glob(os.path.join(TESTS, "smtp", "dialogues", "*.txt")))
SECONDS = 60  # at most, for the end of a connection

# Members of base::Limits by their keys.
KEYS = {"message_bytes": "message_size", "header_bytes": "header_size",
        "message_line_bytes": "message_line", "message_line_flag_bytes": "message_line_flag"}


def unescaped(text):
    """As tests/smtp/dialogue.h has it."""
    one = {"r": b"\r", "n": b"\n", "s": b" ", "0": b"\0", "\\": b"\\"}

    def by(match):
        word = match[0].decode()
        return bytes([int(word[2:], 16)]) if word[1] == "x" else one[word[1]]
    return re.sub(rb"\\(x[0-9a-fA-F]{2}|[rns0\\])", by, text.encode("utf-8", "surrogateescape"))


class Dialogue:
    """What the client says, in groups, and what the server needs to be for it."""

    def __init__(self, path):
        self.name = os.path.basename(path)
        self.groups, self.limits, self.syntax = [], {}, {}
        self.strict = self.starttls = self.xclient = False
        answered = True
        with open(path, encoding="utf-8", errors="surrogateescape") as text:
            for line in text.read().split("\n"):
                if line.startswith("@"):
                    self.directive(*line[1:].split(" "))
                said = re.match(r"([CS])(?:\*(\d+))?([:>]) ?(.*)$", line, re.S)
                if not said:
                    continue
                if said[1] == "S":
                    answered = True
                    continue
                if answered:
                    self.groups.append(b"")
                answered = False
                end = b"\r\n" if said[3] == ":" else b""
                self.groups[-1] += (unescaped(said[4]) + end) * int(said[2] or 1)

    def directive(self, name, *words):
        if name == "limit":
            self.limits[words[0]] = int(words[1])
        elif name == "lenient":
            self.syntax[words[0]] = True
        elif name in ("strict", "starttls", "xclient"):
            setattr(self, name, True)

    def suits(self, server):
        """Whether it can be played to the server of these dialogues as well."""
        return all((self.syntax, self.strict, self.xclient, bool(self.limits)) ==
                   (other.syntax, other.strict, other.xclient, bool(other.limits)) and
                   all(other.limits.get(key, value) == value for key, value in self.limits.items())
                   for other in server)

    @staticmethod
    def configuration(server):
        limits = {KEYS.get(key, key): value for dialogue in server
                  for key, value in dialogue.limits.items()}
        # What a configuration may say.
        if "recipients" in limits:
            limits["recipients"] = max(limits["recipients"], 100)
        # The slowed ones take a quarter of a second each.
        limits.setdefault("errors_soft", min(17, limits.get("errors_hard", 17)))
        limits["errors_hard"] = max(limits.get("errors_hard", 20), limits["errors_soft"])
        if "message_size" in limits:
            limits["header_size"] = min(limits.get("header_size", 1 << 17), limits["message_size"])
        every = ["spaces_in_paths", "bare_paths", "dots_in_local_part", "any_hello_name",
                 "auth_parameter", "xtext_lower_case", "trailing_dot", "hello_optional"]
        one = server[0]
        return {"limits": limits,
                "syntax": {**({name: False for name in every} if one.strict else {}), **one.syntax},
                "listen": {"smtp": ["127.0.0.1:0"],
                           "xclient": ["127.0.0.1"] if one.xclient else []}}


class Exchange:
    """A client that says what it is told and reads to the end; STARTTLS is carried out."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = None
        self.buffer = b""
        self.replies = []
        self.ended = False

    def play(self, groups):
        """The refusals that were read, in order."""
        with self.socket:
            self.wait_for(1)
            for group in groups:
                before = len(self.replies)
                self.send(group)
                self.wait_for(before + 1, 1 if b"STARTTLS" in group.upper() else 0.02)
                if self.replies and self.replies[-1].startswith("220 2.0.0") and not self.tls:
                    self.encrypt()
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            while not self.ended:
                if not self.read(SECONDS):
                    raise AssertionError("the connection does not end")
        assert not self.buffer, f"half a reply: {self.buffer!r}"
        return [reply for reply in self.replies if reply[0] in "45"]

    def send(self, data):
        view = memoryview(data)
        while len(view) and not self.ended:
            part = view[:65536]
            view = view[65536:]
            if self.tls:
                self.tls.write(part)
                part = memoryview(self.outgoing.read())
            while len(part) and not self.ended:
                readable, writable, _ = select.select([self.socket], [self.socket], [], SECONDS)
                if readable:
                    self.read(0)
                elif writable:
                    try:
                        part = part[self.socket.send(part):]
                    except OSError:
                        return  # it has closed; what it said is read all the same

    def wait_for(self, replies, patience=SECONDS):
        """Only for the sake of time: nothing depends on how much is read here."""
        while len(self.replies) < replies and not self.ended:
            if not self.read(patience):
                return

    def read(self, seconds):
        """False when nothing came."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            self.ended = True
            return True
        if self.tls:
            self.incoming.write(data)
            data = self.decrypted()
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-":
                self.replies.append(line.decode("utf-8", "replace"))
        return True

    def decrypted(self):
        data = b""
        try:
            while part := self.tls.read(1 << 16):
                data += part
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return data

    def encrypt(self):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = abuse.context().wrap_bio(self.incoming, self.outgoing)
        while True:
            try:
                self.tls.do_handshake()
                self.socket.sendall(self.outgoing.read())
                return
            except ssl.SSLWantReadError:
                self.socket.sendall(self.outgoing.read())
                self.incoming.write(self.socket.recv(1 << 16))


def codes(reply):
    """"550 5.7.1", the label of /metrics."""
    return re.match(r"\d{3}(?: \d\.\d+\.\d+)?", reply)[0]


class CountedCase(mxtest.TestCase):
    def start(self, journal=None, **sections):
        self.wire = []  # all refusals that were read
        self.path = os.path.join(self.directory, f"journal.{len(self.servers)}")
        sections.setdefault("listen", {}).update(admin="127.0.0.1:0")
        limits = sections.setdefault("limits", {})
        for key, value in {"error_delay": "1ms", "connections": 4000}.items():
            limits.setdefault(key, value)
        sections.setdefault("recipients", {"domains": ["mx.test", "b.example", "mx.example"]})
        self.server = self.serve(
            {"journal": {"to": self.path, "rate": 1_000_000, **(journal or {})}, **sections},
            log_dir=os.path.join(self.directory, f"log.{len(self.servers)}"))

    def play(self, *groups):
        refusals = Exchange(self.server.address).play(groups)
        self.wire += refusals
        return refusals

    def metrics(self):
        text = self.server.http("/metrics")
        family = {label: int(value) for label, value in
                  re.findall(r'(?m)^mxring_refusals_total\{.*?reply="([^"]+)".*?\} (\d+)', text)
                  if int(value)}
        sums = {kind: sum(map(int, re.findall(rf"(?m)^mxring_replies_{kind}_total\S* (\d+)$",
                                              text))) for kind in ("4xx", "5xx")}
        dropped = sum(map(int, re.findall(r"(?m)^mxring_journal_lines_dropped_total\S* (\d+)$",
                                          text)))
        return family, sums, dropped

    def compare(self, in_order=True):
        """Ends the server, whose connections have ended. `in_order`: they came one by one."""
        wire = self.wire
        counted = dict(collections.Counter(map(codes, wire)))
        family, sums, dropped = self.metrics()
        self.assertEqual(family, counted, "refusals_total against the wire")
        self.assertEqual(sums, {kind: sum(1 for reply in wire if reply[0] == kind[0])
                                for kind in ("4xx", "5xx")})
        self.assertEqual(dropped, 0)
        self.assertEqual(self.server.stop(), 0)
        with open(self.path, encoding="utf-8") as text:
            lines = [line for line in map(json.loads, text) if line["reply"]]
        told = collections.Counter()
        for line in lines:
            told[codes(line["reply"])] += line["repeated"]
        self.assertEqual(dict(told), counted, "the journal against the wire")
        if in_order and all(line["repeated"] == 1 for line in lines):
            # The very replies.
            self.assertEqual([line["reply"] for line in lines], wire)
        return lines


class Dialogues(CountedCase):
    def test_each_dialogue_step_by_step_and_pipelined(self):
        servers = []
        for dialogue in map(Dialogue, DIALOGUES):
            server = next(filter(dialogue.suits, servers), None)
            server.append(dialogue) if server else servers.append([dialogue])
        self.assertGreater(len(DIALOGUES), 100)
        refused = 0
        for dialogues in servers:
            self.start(**Dialogue.configuration(dialogues))
            for dialogue in dialogues:
                with self.subTest(dialogue=dialogue.name):
                    self.play(*dialogue.groups)
                    # Up to STARTTLS, and after it: what is sent with it is thrown away.
                    whole = re.split(rb"(?i)(?<=STARTTLS\r\n)", b"".join(dialogue.groups))
                    self.play(*(whole if dialogue.starttls else [b"".join(dialogue.groups)]))
            refused += len(self.wire)
            self.compare()
        print(f"{len(DIALOGUES)} dialogues to {len(servers)} servers, twice; {refused} refusals",
              flush=True)
        self.assertGreater(refused, 300)


class Attacks(CountedCase):
    """What is made to confuse a receiver: each piece at once, and in two."""

    def setUp(self):
        super().setUp()
        self.start(auth={"spf": True, "dkim": True, "dmarc": True},
                   dns={"servers": ["127.0.0.1:9"], "timeout": "1s"})

    def transaction(self, content, sender="a@c.example"):
        return [b"EHLO c.example\r\nMAIL FROM:<%b>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n" %
                sender.encode(), content + b"\r\n.\r\n", b"QUIT\r\n"]

    def both(self, groups):
        self.play(*groups)
        self.play(b"".join(groups))
        return 2

    def test_smuggled_ends_of_data(self):
        path = os.path.join(SHARED, "corpora", "smtp-smuggling", "vectors.json")
        if not os.path.exists(path):
            self.skipTest("no corpora: ../shared/corpora/smtp-smuggling")
        with open(path) as text:
            corpus = json.load(text)
        before = "".join(corpus["session_before"]).replace("{rcpt}", "b@mx.test").encode()
        head, tail = corpus["data_template"].replace("{rcpt}", "b@mx.test").encode().split(b"{eod}")
        for vector in corpus["vectors"]:
            self.both([before, head + bytes.fromhex(vector["bytes_hex"]) + tail, b"QUIT\r\n"])
        self.assertGreater(len(self.wire), len(corpus["vectors"]))
        self.compare()

    def test_seeds_of_fuzzers(self):
        seeds = [path for folder in ("session_fuzz", "command_fuzz", "unstuff_fuzz", "xclient_fuzz")
                 for path in sorted(glob.glob(os.path.join(TESTS, "corpus", folder, "*")))]
        seeds += sorted(glob.glob(os.path.join(SHARED, "corpora", "smtp-fuzz-seeds", "*.in")))
        for path in seeds:
            with open(path, "rb") as seed:
                self.both(seed.read().split(b"\x1e"))
        self.assertGreater(len(seeds), 10)
        self.compare()

    def test_mail_with_a_false_author(self):
        paths = sorted(glob.glob(os.path.join(TESTS, "mailauth", "attacks", "*.txt")))
        self.assertGreater(len(paths), 30)
        for path in paths:
            with open(path, "rb") as text:
                mail = text.read().split(b"\nmessage\n", 1)[-1].split(b"\nexpect\n")[0]
            mail = re.sub(rb"(?m)^\.", b"..", mail).replace(b"\n", b"\r\n")
            self.play(*self.transaction(mail))
            chunk = b"BDAT %d LAST\r\n" % len(mail) + mail
            self.play(b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@mx.test>\r\n" + chunk +
                      b"QUIT\r\n")
        self.assertGreater(len(self.wire), 10)
        self.compare()

    def test_cases_of_other_servers(self):
        paths = sorted(glob.glob(os.path.join(SHARED, "cases", "smtp", "*.dlg")))
        if not paths:
            self.skipTest("no cases: ../shared/cases/smtp")
        for path in paths:
            with open(path, "rb") as text:
                said = [line[3:] + b"\r\n" for line in text.read().split(b"\n")
                        if line[:3] in (b"C: ", b"M: ")]
            self.both(said)
        self.compare()

    def test_clients_that_mean_harm(self):
        tap = Tap(self.server.address)
        self.addCleanup(tap.close)
        in_the_clear = [abuse.given_up_while_checked, abuse.colliding_fields,
                        abuse.envelope_hoard, abuse.never_reads, abuse.dribbler, abuse.noise,
                        abuse.smuggler, abuse.chunk_liar, abuse.slammer, abuse.idler]
        steps = abuse.run(abuse.Target("127.0.0.1", tap.port, tap.port, tls_share=0), 3, 7, each=2,
                          kinds=in_the_clear)
        self.assertGreater(steps, 10)
        mxtest.wait_until(lambda: tap.busy == 0, SECONDS, "all connections end")
        self.assertGreater(len(tap.refusals), 5)
        self.wire = tap.refusals
        self.compare(in_order=False)


class Tap:
    """A relay that reads all that the server says and notes its refusals, whatever the client does;
    when the client goes, so does its side, and the server's is read to its end."""

    def __init__(self, server_address):
        self.server_address = server_address
        self.refusals = []
        self.busy = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.busy += 1
            server = socket.create_connection(self.server_address, timeout=SECONDS)
            threading.Thread(target=self.up, args=(client, server), daemon=True).start()
            threading.Thread(target=self.down, args=(client, server), daemon=True).start()

    @staticmethod
    def up(client, server):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def down(self, client, server):
        said = b""
        with server, client:
            with contextlib.suppress(ConnectionResetError):
                while data := server.recv(65536):
                    said += data
                    # One that does not read must not hold up what we read.
                    with contextlib.suppress(OSError):
                        client.send(data, socket.MSG_DONTWAIT)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        refusals = [line.decode("utf-8", "replace") for line in said.split(b"\r\n")
                    if re.match(rb"[45]\d\d ", line)]
        with self.lock:
            self.refusals += refusals
            self.busy -= 1


class Ends(CountedCase):
    """Connections that end by a reply that nobody asked for, or without one."""

    @staticmethod
    def read_all(sock):
        data = b""
        sock.settimeout(SECONDS)
        with contextlib.suppress(ConnectionResetError):
            while part := sock.recv(65536):
                data += part
        return [line.decode() for line in data.split(b"\r\n") if re.match(rb"[45]\d\d ", line)]

    def cut_off(self):
        with open(self.path, encoding="utf-8") as text:
            return [line["text"] for line in map(json.loads, text)
                    if line["event"] == "cut_off" and line["reply"] is None]

    def test_turned_away_and_timed_out(self):
        self.start(limits={"command_wait": "2s", "connections": 2, "connections_per_ip": 2},
                   listen={"smtp": ["127.0.0.1:0"], "smtps": ["127.0.0.1:0"]})
        smtps = ("127.0.0.1", int(self.server.ready["smtps"].rsplit(":", 1)[1]))
        with mxtest.Wire(self.server.address) as one, mxtest.Wire(self.server.address) as two:
            for _ in range(3):
                with socket.create_connection(self.server.address) as third:
                    self.wire += self.read_all(third)
            self.assertEqual(len(self.wire), 3)
            with socket.create_connection(smtps) as fourth:
                self.assertEqual(self.read_all(fourth), [])
            for wire in one, two:
                timed_out = wire.reply()
                self.assertRegex(timed_out, "^421 4.4.2")
                self.wire.append(timed_out)
                self.assertTrue(wire.at_end())
        self.compare()
        self.assertEqual(self.cut_off(), ["too many connections; before TLS nothing can be said"])

    def test_a_header_that_is_none(self):
        self.start(listen={"smtp": ["127.0.0.1:0"], "smtps": ["127.0.0.1:0"],
                           "proxy": ["127.0.0.1"]})
        for place in ("smtp", "smtps"):
            port = int(self.server.ready[place].rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port)) as balancer:
                balancer.sendall(b"EHLO there\r\n")
                said = self.read_all(balancer)
                self.assertEqual([codes(reply) for reply in said], ["421 4.3.0"])
                self.wire += said
        self.compare()

    def test_draining(self):
        self.start()
        wires = [mxtest.Wire(self.server.address) for _ in range(5)]
        wires[0].send("EHLO c.example\r\nRCPT TO:<x@mx.test>\r\nBOGUS\r\n")
        said = []
        for wire in wires[:1]:
            wire.reply()
            said += [wire.reply(), wire.reply()]
        self.server.terminate()
        for wire in wires:
            with wire:
                last = wire.reply()
                self.assertRegex(last, "^421 4.3.2")
                said.append(last)
                self.assertTrue(wire.at_end())
        self.assertEqual(self.server.wait(), 0)
        with open(self.path, encoding="utf-8") as text:
            lines = [line for line in map(json.loads, text) if line["reply"]]
        self.assertEqual([line["reply"] for line in lines], said)

    def test_more_at_once_than_lines_find_room(self):
        """Twelve clients in one moment, each with hundreds of refusals."""
        self.start(limits={"errors_soft": 100_000, "errors_hard": 100_000, "recipients": 100})
        rcpts = b"RCPT TO:<b@mx.test>\r\n" * 500
        groups = [b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n" + rcpts + b"QUIT\r\n"]
        exchanges = [Exchange(self.server.address) for _ in range(12)]
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            for refusals in pool.map(lambda exchange: exchange.play(groups), exchanges):
                self.wire += refusals
        self.assertEqual(len(self.wire), 12 * 400)
        self.compare(in_order=False)

    def test_folded(self):
        self.start({"rate": 5})
        for _ in range(4):
            self.play(b"EHLO c.example\r\nBOGUS\r\nRCPT TO:<b@mx.test>\r\nMAIL x\r\nQUIT\r\n")
        lines = self.compare()
        self.assertGreater(max(line["repeated"] for line in lines), 1)


if __name__ == "__main__":
    mxtest.main()
