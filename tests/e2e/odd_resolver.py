"""A DNS resolver on loopback that answers from a dictionary and misbehaves in one way, over UDP and
TCP, in threads of its own:

    resolver = OddResolver({"a.test": [("TXT", "v=spf1 -all")]}, manner="formerr")
    ... resolver.address is "127.0.0.1:PORT" ...
    resolver.stop()

Manners: "" none; "formerr", "notimp", "drop" answer that, or nothing, to questions with an option
record; "refuse" answers REFUSED to everything. Names below one in `silent` have no answer at all;
`raw` replaces replies: it is called with the query and whether it came over TCP, and returns bytes,
or None for the usual reply.
"""

import socket
import struct
import threading

TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
CODES = {"formerr": 1, "notimp": 4, "refuse": 5}


def wire_name(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def data_of(kind, value):
    if kind == "A":
        return socket.inet_aton(value)
    if kind == "MX":
        preference, host = value.split()
        return struct.pack(">H", int(preference)) + wire_name(host)
    if kind in ("PTR", "CNAME"):
        return wire_name(value)
    text = value.encode()
    return b"".join(bytes([len(text[i:i + 255])]) + text[i:i + 255]
                    for i in range(0, len(text), 255))


class OddResolver:
    def __init__(self, zone, manner="", silent=(), raw=None):
        self.zone, self.manner, self.silent, self.raw = zone, manner, tuple(silent), raw
        self.questions = []  # (name, type, whether it had an option record)
        self.stopped = threading.Event()
        while True:
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind(("127.0.0.1", 0))
            self.tcp = socket.socket()
            try:
                self.tcp.bind(self.udp.getsockname())
                break
            except OSError:
                self.udp.close()
                self.tcp.close()
        self.tcp.listen(64)
        self.udp.settimeout(0.2)
        self.tcp.settimeout(0.2)
        self.address = "127.0.0.1:%d" % self.udp.getsockname()[1]
        self.threads = [threading.Thread(target=f) for f in (self._serve_udp, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        self.udp.close()
        self.tcp.close()

    def _serve_udp(self):
        while not self.stopped.is_set():
            try:
                query, client = self.udp.recvfrom(4096)
            except OSError:
                continue
            reply = self.reply(query, False)
            if reply and len(reply) > 1232:
                end = self.question(query)[2]
                reply = query[:2] + b"\x87\x80\0\1\0\0\0\0\0\0" + query[12:end]
            if reply:
                self.udp.sendto(reply, client)

    def _serve_tcp(self):
        while not self.stopped.is_set():
            try:
                client, _ = self.tcp.accept()
            except OSError:
                continue
            with client:
                client.settimeout(0.2)
                try:
                    while True:
                        head = client.recv(2, socket.MSG_WAITALL)
                        if len(head) < 2:
                            break
                        query = client.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL)
                        reply = self.reply(query, True)
                        if reply:
                            client.sendall(struct.pack(">H", len(reply)) + reply)
                except OSError:
                    pass

    @staticmethod
    def question(query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]])
            at += query[at] + 1
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        return b".".join(labels).decode("latin-1").lower(), kind, at + 5

    def reply(self, query, tcp):
        name, kind, end = self.question(query)
        options = query[10:12] != b"\0\0"
        self.questions.append((name, kind, options))
        if self.raw:
            made = self.raw(query, tcp)
            if made is not None:
                return made
        if any(name == s or name.endswith("." + s) for s in self.silent):
            return None
        if self.manner == "drop" and options:
            return None
        if self.manner in CODES and (options or self.manner == "refuse"):
            return query[:2] + bytes([0x81, 0x80 | CODES[self.manner]]) + \
                b"\0\1\0\0\0\0\0\0" + query[12:end]
        records = self.zone.get(name)
        above = name
        while records is None and "." in above:  # "*.a.test" stands for all below a.test
            above = above.split(".", 1)[1]
            records = self.zone.get("*." + above)
        answers = [data_of(k, v) for k, v in records or () if TYPES[k] == kind]
        known = records is not None or any(z.endswith("." + name) for z in self.zone)
        body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 300, len(data)) + data
                        for data in answers)
        return query[:2] + bytes([0x81, 0x80 if known else 0x83]) + \
            struct.pack(">HHHH", 1, len(answers), 0, 0) + query[12:end] + body
