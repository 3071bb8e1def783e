"""Drives the null sink with Python's smtplib and checks that it answers like an SMTP server.

usage: null_sink_smoke.py PATH_TO_NULL_SINK
"""

import re
import signal
import smtplib
import socket
import subprocess
import sys


def read_reply(stream):
    """One reply, all its lines; the code of the last."""
    while True:
        line = stream.readline()
        if not line:
            raise AssertionError("connection closed instead of a reply")
        if line[3:4] != b"-":
            return int(line[:3])


def with_smtplib(port):
    sizes = [0, 1, 1000, 100 * 1024, 1_000_000]
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.ehlo("test.example")
        for name in ("pipelining", "size", "8bitmime"):
            assert client.has_extn(name), name
        for size in sizes:
            body = ("x" * 70 + "\r\n.\r.\n" + "\r\n..\r\n") * (size // 80 + 1)
            refused = client.sendmail("a@example.org", ["b@example.org", "c@example.org"],
                                      "Subject: t\r\n\r\n" + body)
            assert refused == {}, refused
        assert client.rset()[0] == 250
        assert client.noop()[0] == 250
        assert client.docmd("XYZZY")[0] == 500
    return len(sizes)


def pipelined(port):
    """Whole transactions in one write, and then the same bytes one at a time."""
    transaction = (b"MAIL FROM:<a@example.org>\r\n" + b"RCPT TO:<b@example.org>\r\n" * 3 +
                   b"DATA\r\n")
    content = b"Subject: t\r\n\r\nbody\r\n.\r\r\n.x\r\n.\r\n"
    session = b"EHLO test.example\r\n" + (transaction + content) * 2 + b"QUIT\r\n"
    expected = [220, 250] + ([250] * 4 + [354, 250]) * 2 + [221]
    for step in (len(session), 1, 7):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(session), step):
                connection.sendall(session[at:at + step])
            stream = connection.makefile("rb")
            codes = [read_reply(stream) for _ in expected]
            assert codes == expected, (step, codes)
            assert stream.read() == b"", "the server closes after QUIT"
    # An empty message: the dot comes right after DATA's line.
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"HELO x\r\nDATA\r\n.\r\nQUIT\r\n")
        stream = connection.makefile("rb")
        assert [read_reply(stream) for _ in range(5)] == [220, 250, 354, 250, 221]
    return 2 * 3 + 1


def abandoned(port):
    """A client that goes away in the middle harms nobody."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"EHLO x\r\nDATA\r\nhalf a mess")


def main():
    sink = subprocess.Popen([sys.argv[1], "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
    try:
        ready = sink.stdout.readline()
        if not ready:
            problem = sink.stderr.read().strip()
            print("skipped:", problem)
            return 77 if "io_uring" in problem else 1
        port = int(re.fullmatch(r"ready 127\.0\.0\.1:(\d+)\n", ready).group(1))
        abandoned(port)
        messages = with_smtplib(port) + pipelined(port)
        sink.send_signal(signal.SIGTERM)
        report, _ = sink.communicate(timeout=10)
        counted = int(re.match(r"messages (\d+) cpu_us_per_message [\d.]+ "
                               r"system_calls_per_message [\d.]+\n", report).group(1))
        assert counted == messages, (counted, messages)
        assert sink.returncode == 0, sink.returncode
    finally:
        if sink.poll() is None:
            sink.kill()
            sink.wait()
    print("ok:", report.strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
