"""The client's half of the milter protocol (version 6), as much as a signing or verifying filter
needs: it is given a message and says which fields it would add.
"""

import re
import socket
import struct

VERSION = 6
ADD_HEADERS = 0x01
CHANGE_HEADERS = 0x10
KEEP_LEADING_SPACE = 0x100000  # of field values, which simple canonicalization needs
CHUNK_BYTES = 65535


def fields_of(message):
    """The header section's [(name, value)] with CRLF line ends in values, and the body."""
    if message.startswith(b"\r\n"):
        return [], message[2:]
    head, _, body = message.partition(b"\r\n\r\n")
    fields = []
    for field in re.split(rb"\r\n(?![ \t])", head.removesuffix(b"\r\n")):
        name, _, value = field.partition(b":")
        fields.append((name, value))
    return fields, body


class Milter:
    def __init__(self, path, timeout=20):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.buffer = b""
        try:
            self.socket.connect(path)
            self._begin()
        except OSError:
            self.socket.close()
            raise

    def _begin(self):
        self._send(b"O", struct.pack(">3I", VERSION, ADD_HEADERS | CHANGE_HEADERS,
                                     KEEP_LEADING_SPACE))
        command, data = self._receive()
        if command != b"O":
            raise ConnectionError(f"the filter does not negotiate: {command!r}")
        self.keeps_space = bool(struct.unpack(">3I", data[:12])[2] & KEEP_LEADING_SPACE)
        self._ask(b"C", b"client.test\0" + b"4" + struct.pack(">H", 25) + b"127.0.0.1\0")
        self._ask(b"H", b"client.test\0")

    def close(self):
        self._send(b"Q", b"")
        self.socket.close()

    def _send(self, command, data):
        self.socket.sendall(struct.pack(">I", len(data) + 1) + command + data)

    def _read(self, size):
        while len(self.buffer) < size:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the filter has gone")
            self.buffer += data
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def _receive(self):
        size = struct.unpack(">I", self._read(4))[0]
        packet = self._read(size)
        return packet[:1], packet[1:]

    def _ask(self, command, data):
        self._send(command, data)
        answer, text = self._receive()
        if answer != b"c":
            raise ConnectionError(f"the filter answers {answer!r} {text!r} to {command!r}")

    def message(self, message, sender=b"a@client.test", recipient=b"b@mx.test"):
        """The fields it would add, each as [name, value], the value with its leading space."""
        fields, body = fields_of(message)
        self._ask(b"M", b"<" + sender + b">\0")
        self._ask(b"R", b"<" + recipient + b">\0")
        for name, value in fields:
            if not self.keeps_space:
                value = value.removeprefix(b" ")
            # Mail servers hand folded fields over with their own line ends.
            self._ask(b"L", name + b"\0" + value.replace(b"\r\n", b"\n") + b"\0")
        self._ask(b"N", b"")
        for at in range(0, len(body), CHUNK_BYTES):
            self._ask(b"B", body[at:at + CHUNK_BYTES])
        self._send(b"E", b"")
        added = []
        while True:
            answer, data = self._receive()
            if answer == b"i":
                data = data[4:]  # where to insert it
            if answer in (b"i", b"h"):
                name, value = data.split(b"\0")[:2]
                space = b"" if self.keeps_space else b" "
                value = re.sub(rb"\r?\n", b"\r\n", value)
                added.append((name, space + value))
            elif answer in (b"c", b"a"):
                return added
            elif answer not in (b"m", b"p"):
                raise ConnectionError(f"the filter ends with {answer!r} {data!r}")
