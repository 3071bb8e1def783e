"""Many SMTP clients in one thread: each is a generator on an epoll loop.

    def visitor(connection):
        banner = yield connection.reply()
        yield connection.send(b"QUIT\\r\\n")

    loop = Loop()
    loop.connect(address, visitor)
    loop.run(until=time.monotonic() + 10)

Run as a program it is the crowd of the idle test: connections that do nothing and connections
whose message comes a byte a second.
"""

import contextlib
import errno
import heapq
import itertools
import json
import select
import socket
import sys
import time


class Closed(Exception):
    """The server closed (or the network failed, `why`); `text` is what was left unread."""

    def __init__(self, text=b"", why=None):
        super().__init__(text, why)
        self.text = text
        self.why = why


class Connection:
    """What a visitor yields: reply(), send(data), sleep(seconds), forever()."""

    def __init__(self, loop, address, send_buffer=None):
        self.loop = loop
        self.buffer = b""
        self.output = None
        self.want = "connect"
        self.closed = False
        self.mask = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if send_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            # A rate estimate (BBR) never recovers from the losses of a flooded loopback.
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        code = self.socket.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")

    @staticmethod
    def reply():
        return ("reply", None)

    @staticmethod
    def send(data):
        return ("send", data)

    @staticmethod
    def sleep(seconds):
        return ("sleep", seconds)

    @staticmethod
    def forever():
        """Until the server closes."""
        return ("forever", None)

    def take_reply(self):
        end = 0
        while True:
            line_end = self.buffer.find(b"\r\n", end)
            if line_end < 0:
                return None
            last = self.buffer[end + 3:end + 4] != b"-"
            end = line_end + 2
            if last:
                reply, self.buffer = self.buffer[:end], self.buffer[end:]
                return reply[:-2].decode("utf-8", "replace")


class Loop:
    def __init__(self):
        self.epoll = select.epoll()
        self.by_fd = {}
        self.timers = []
        self.order = itertools.count()
        self.failures = []  # (visitor's name, exception)

    def connect(self, address, visitor, *args, send_buffer=None):
        connection = Connection(self, address, send_buffer)
        connection.visit = visitor(connection, *args)
        self.by_fd[connection.socket.fileno()] = connection
        connection.mask = select.EPOLLOUT
        self.epoll.register(connection.socket.fileno(), connection.mask)
        return connection

    def run(self, until=None, while_true=lambda: True):
        """Until the time is up, the condition fails, or every visitor has left."""
        while self.by_fd and while_true():
            now = time.monotonic()
            if until is not None and now >= until:
                return
            wait = 1.0 if until is None else min(1.0, until - now)
            if self.timers:
                wait = min(wait, max(0.0, self.timers[0][0] - now))
            for fd, events in self.epoll.poll(wait, 1024):
                connection = self.by_fd.get(fd)
                if connection is not None:
                    self._ready(connection, events)
            now = time.monotonic()
            while self.timers and self.timers[0][0] <= now:
                connection = heapq.heappop(self.timers)[2]
                if not connection.closed:
                    self._resume(connection, None)

    def _ready(self, connection, events):
        if connection.want == "connect":
            code = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._leave(connection, OSError(code, "connect"))
                return
            self._resume(connection, None)
            return
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self._read(connection)
        if not connection.closed and events & select.EPOLLOUT and connection.want == "send":
            self._write(connection)

    def _read(self, connection):
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._resume(connection, Closed(connection.buffer, error))
            return
        if not data:
            self._resume(connection, Closed(connection.buffer))
            return
        connection.buffer += data
        if connection.want == "reply":
            reply = connection.take_reply()
            if reply is not None:
                self._resume(connection, reply)

    def _write(self, connection):
        try:
            while connection.output:
                sent = connection.socket.send(connection.output[:1 << 20])
                connection.output = connection.output[sent:]
        except BlockingIOError:
            return
        except OSError as error:
            # What the server said before it closed is still to be read.
            self._read_rest(connection, error)
            return
        self._resume(connection, None)

    def _read_rest(self, connection, why):
        try:
            while data := connection.socket.recv(65536):
                connection.buffer += data
        except OSError:
            pass
        self._resume(connection, Closed(connection.buffer, why))

    def _resume(self, connection, value):
        """Runs the visitor until it has to wait."""
        while True:
            try:
                if isinstance(value, Exception):
                    want, detail = connection.visit.throw(value)
                else:
                    want, detail = connection.visit.send(value)
            except StopIteration:
                self._leave(connection, None)
                return
            except Exception as error:  # the visitor's own complaint
                self._leave(connection, error)
                return
            connection.want = want
            value = None
            if want == "reply":
                value = connection.take_reply()
                if value is not None:
                    continue
                self._interest(connection, select.EPOLLIN)
            elif want == "send":
                connection.output = memoryview(detail)
                self._interest(connection, select.EPOLLIN | select.EPOLLOUT)
            elif want == "sleep":
                self._interest(connection, select.EPOLLIN)
                heapq.heappush(self.timers,
                               (time.monotonic() + detail, next(self.order), connection))
            else:
                self._interest(connection, select.EPOLLIN)
            return

    def _interest(self, connection, mask):
        if mask != connection.mask:
            connection.mask = mask
            self.epoll.modify(connection.socket.fileno(), mask)

    def _leave(self, connection, error):
        if error is not None:
            self.failures.append((connection.visit.__name__, error))
        connection.closed = True
        del self.by_fd[connection.socket.fileno()]
        self.epoll.unregister(connection.socket.fileno())
        connection.socket.close()

    def close(self):
        for connection in list(self.by_fd.values()):
            self._leave(connection, None)
        self.epoll.close()


class Refused(Exception):
    """A reply the visitor did not want."""


def expect(reply, code):
    if not reply.startswith(code):
        raise Refused(reply)
    return reply


def crowd(address, idle, dribblers):
    """Holds `idle` silent connections and dribbles on others until standard input ends."""
    loop = Loop()
    state = {"idle": 0, "dribbling": 0, "ended": {}, "idle_closed": 0}

    def silent(connection):
        expect((yield connection.reply()), "220")
        yield connection.send(b"EHLO idle.test\r\n")
        expect((yield connection.reply()), "250")
        state["idle"] += 1
        try:
            yield connection.forever()
        except Closed:
            state["idle_closed"] += 1

    def dribbler(connection):
        expect((yield connection.reply()), "220")
        for command in (b"EHLO slow.test", b"MAIL FROM:<a@slow.test>", b"RCPT TO:<b@mx.test>"):
            yield connection.send(command + b"\r\n")
            expect((yield connection.reply()), "250")
        yield connection.send(b"DATA\r\n")
        expect((yield connection.reply()), "354")
        state["dribbling"] += 1
        try:
            for byte in itertools.cycle(b"Subject: slow, "):
                yield connection.send(bytes([byte]))
                yield connection.sleep(1.0)
        except Closed as closed:
            words = closed.text.decode("utf-8", "replace").strip()[:9]
            state["ended"][words] = state["ended"].get(words, 0) + 1

    def report():
        print(json.dumps(dict(state, failures=[f"{n}: {e!r}" for n, e in loop.failures[:5]],
                              failed=len(loop.failures))), flush=True)

    def input_ended():
        readable, _, _ = select.select([sys.stdin], [], [], 0)
        return bool(readable) and not sys.stdin.buffer.read1(1)

    # In batches, so that the listening queue never overflows.
    wanted = [silent] * idle + [dribbler] * dribblers
    while wanted:
        for visitor in wanted[:200]:
            loop.connect(address, visitor)
        del wanted[:200]
        opened = idle + dribblers - len(wanted)
        loop.run(until=time.monotonic() + 30, while_true=lambda: (
            state["idle"] + state["dribbling"] + len(loop.failures) < opened))
    report()
    while not input_ended():
        loop.run(until=time.monotonic() + 0.5)
        if not loop.by_fd:
            time.sleep(0.1)
    report()
    loop.close()


if __name__ == "__main__":
    crowd((sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4]))
