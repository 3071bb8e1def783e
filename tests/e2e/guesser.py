"""Clients that guess recipients, from fifty addresses at once, until so many RCPTs are answered, and
for so many seconds at least.

    guesser.py HOST:PORT RCPTS SECONDS      prints {"550": n, "450": n, "421": n, "connections": n, ...}

A third of them stays until it is sent away, others leave when answers become slow and come back. Those
of a few addresses know a good recipient and name it between guesses, so that nothing but the rate
of their address stops them.
"""

import json
import selectors
import socket
import sys
import time

ADDRESSES = 50
KNOWING = 5  # of them
EACH = 4  # connections from one address
GROUP = 100  # RCPTs sent without waiting


class Guesser:
    def __init__(self, crowd, number):
        self.crowd = crowd
        self.number = number
        self.patient = number % 3 == 0
        self.knows = number % ADDRESSES < KNOWING
        self.open()

    def open(self):
        self.socket = socket.socket()
        self.socket.bind((f"127.0.0.{2 + self.number % ADDRESSES}", 0))
        self.socket.setblocking(False)
        self.socket.connect_ex(self.crowd.server)
        self.greeted, self.answered, self.heard, self.tail = False, 0, time.monotonic(), b""
        self.crowd.ready.register(self.socket, selectors.EVENT_READ, self)
        self.crowd.counts["connections"] += 1

    def reopen(self):
        self.crowd.ready.unregister(self.socket)
        self.socket.close()
        self.open()

    def guess(self):
        first = self.crowd.guesses
        self.crowd.guesses += GROUP
        group = "RSET\r\nMAIL FROM:<a@guesser.test>\r\n"
        for i in range(GROUP):
            name = "joe" if self.knows and i % 4 == 0 else f"guess{first + i}"
            group += f"RCPT TO:<{name}@mx.test>\r\n"
        self.socket.send(group.encode())
        self.answered = -2

    def on_bytes(self):
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.reopen()
            return
        self.heard = time.monotonic()
        if not self.greeted:
            self.greeted = True
            self.socket.send(b"HELO guesser.test\r\n")
            self.guess()
            self.answered -= 1
            return
        *lines, self.tail = (self.tail + data).split(b"\r\n")
        for line in lines:
            code = line[:3].decode()
            self.answered += 1
            if code in self.crowd.counts:
                self.crowd.counts[code] += 1
        if self.answered >= GROUP:
            self.guess()

    def look(self, now):
        if not self.patient and now - self.heard > 0.5:
            self.reopen()


class Crowd:
    def __init__(self, server):
        self.server = server
        self.ready = selectors.DefaultSelector()
        self.counts = {"550": 0, "450": 0, "421": 0, "connections": 0}
        self.guesses = 0

    def run(self, wanted, seconds_min, seconds):
        guessers = [Guesser(self, number) for number in range(ADDRESSES * EACH)]
        begun = looked = time.monotonic()
        while (self.counts["550"] + self.counts["450"] < wanted
               or not self.counts["421"] or not self.counts["450"]
               or time.monotonic() - begun < seconds_min):
            for key, _ in self.ready.select(0.1):
                key.data.on_bytes()
            now = time.monotonic()
            if now - begun > seconds:
                break
            if now - looked > 0.2:
                looked = now
                for guesser in guessers:
                    guesser.look(now)
        self.counts["seconds"] = round(time.monotonic() - begun, 1)
        return self.counts


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    print(json.dumps(Crowd((host, int(port))).run(int(sys.argv[2]), int(sys.argv[3]), 1200)))


if __name__ == "__main__":
    main()
