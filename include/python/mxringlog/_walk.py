"""Goes through one segment, record by record. Nothing at or after the limit is looked at."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from typing import NamedTuple, Optional, Tuple, Union

from ._disk import BLOCK, Segment, whole_pread

_HEADER = struct.Struct("<4sIQQQQIIIIQ")
_INDEX_HEAD = struct.Struct("<8sIIQQ")
_INDEX_ENTRY = struct.Struct("<QQQII")
_MAGIC = re.compile(b"mx[rs]1")
_READ = 1 << 18


class Header(NamedTuple):
    magic: bytes
    crc: int
    epoch: int
    offset: int
    received_at: int
    durable_before: int
    span: int
    message_bytes: int
    metadata_bytes: int
    payload_crc: int
    reserved: int


class Found(NamedTuple):
    """A record; `payload` is None when it is damaged, or was not wanted."""

    header: Header
    payload: Optional[bytes]


class Lost(NamedTuple):
    """Offsets [first, next) are in a damaged region; `next` is None when nothing good follows."""

    first: int
    next: Optional[int]
    position: int  # where the region begins


class Seal(NamedTuple):
    next: int
    greatest_time: int
    durable_before: int


Item = Union[Found, Lost, Seal]


class Walk:
    def __init__(self, segment: Segment, check_payload: bool = True) -> None:
        if segment.header is None:
            raise ValueError("a segment without a good header")
        self.segment = segment
        self.check_payload = check_payload
        self.epoch = segment.header.epoch
        self.salt = segment.header.salt
        self.position = BLOCK
        self.expected = segment.base
        self._buffer = b""
        self._buffer_at = 0

    def _bytes(self, at: int, size: int, limit: int) -> Optional[bytes]:
        if at + size > limit:
            return None
        begin = at - self._buffer_at
        if begin < 0 or begin + size > len(self._buffer):
            self._buffer = whole_pread(self.segment.fd, min(max(size, _READ), limit - at), at)
            self._buffer_at, begin = at, 0
            if len(self._buffer) < size:
                return None
        return self._buffer[begin:begin + size]

    def header_at(self, at: int, limit: int) -> Optional[Header]:
        raw = self._bytes(at, 64, limit)
        if raw is None or raw[:4] not in (b"mxr1", b"mxs1"):
            return None
        header = Header._make(_HEADER.unpack(raw))
        if header.epoch != self.epoch or self.segment.crc(
                self.salt, raw[:4] + raw[8:]) != header.crc:
            return None
        size = 64 + header.message_bytes + header.metadata_bytes
        return header if header.span >= size and header.span % 16 == 0 else None

    def _find(self, limit: int) -> Optional[Tuple[int, Header]]:
        """The next good header with an offset that is not below the one expected."""
        at = self.position
        while at + 64 <= limit:
            chunk = whole_pread(self.segment.fd, min(1 << 20, limit - at), at)
            if not chunk:
                return None
            for match in _MAGIC.finditer(chunk):
                place = at + match.start()
                if place % 16 == 0:
                    header = self.header_at(place, limit)
                    if header is not None and header.offset >= self.expected:
                        return place, header
            at += len(chunk) - len(chunk) % 16 or len(chunk)
        return None

    def step(self, limit: int, skip: bool = False) -> Optional[Item]:
        """What comes next; None at the limit. `skip` leaves the payload out."""
        while True:
            header = self.header_at(self.position, limit)
            if header is not None and header.offset == self.expected:
                if header.magic == b"mxs1":
                    return Seal(header.offset, header.received_at, header.durable_before)
                return self._record(header, limit, skip)
            if self.position + 64 > limit:
                return None
            begin, first = self.position, self.expected
            good = self._find(limit)
            if good is None:
                self.position = limit
                return Lost(first, None, begin)
            self.position, self.expected = good[0], good[1].offset
            if self.expected > first:
                return Lost(first, self.expected, begin)

    def _record(self, header: Header, limit: int, skip: bool) -> Found:
        payload = None
        if not skip:
            size = header.message_bytes + header.metadata_bytes
            payload = self._bytes(self.position + 64, size, limit)
            if payload is not None and self.check_payload and self.segment.crc(
                    0, payload) != header.payload_crc:
                payload = None
        self.position += header.span
        self.expected = header.offset + 1
        return Found(header, payload)

    def seek_by_index(self, limit: int, offset: int, time_us: Optional[int] = None) -> None:
        """Begins at the last index entry at or before the offset (with a time: whose time is below
        it) that leads to its record. The index is only advice."""
        best = None
        with contextlib.suppress(OSError):
            with open(self.segment.path[:-4] + ".idx", "rb") as file:
                data = file.read()
            if len(data) < 32:
                return
            magic, version, check, epoch, _ = _INDEX_HEAD.unpack(data[:32])
            if (magic != b"MXRGIDX1" or version != 1 or epoch != self.epoch or
                    self.segment.crc(0, data[16:32]) != check):
                return
            for at in range(32, len(data) - 31, 32):
                entry = _INDEX_ENTRY.unpack_from(data, at)
                if self.segment.crc(self.epoch & 0xFFFFFFFF, data[at:at + 24]) != entry[3]:
                    break
                if entry[0] > offset or (time_us is not None and entry[2] >= time_us):
                    break
                best = entry
        if best is not None and best[1] % 16 == 0 and best[1] >= BLOCK:
            header = self.header_at(best[1], limit)
            if header is not None and header.magic == b"mxr1" and header.offset == best[0]:
                self.position, self.expected = best[1], best[0]


def seal_at_end(segment: Segment) -> Optional[Seal]:
    """The seal of a segment that was sealed and cut, without going through it."""
    size = segment.size()
    if segment.header is None or size % 16 != 0 or size < BLOCK + 64:
        return None
    header = Walk(segment).header_at(size - 64, size)
    if header is None or header.magic != b"mxs1" or header.span != 64:
        return None
    return Seal(header.offset, header.received_at, header.durable_before)


def find_end(segment: Segment, known: int, poisoned: bool) -> Tuple[int, int]:
    """(offset, position) at which the log ends in its newest segment, which nobody writes to.
    `known` is the durable offset of the state page, or 0."""
    size = segment.size()
    seal = seal_at_end(segment)
    if seal is not None:
        return max(seal.next, known), size  # a segment that came after it may be missing
    if poisoned:
        return known, size
    walk = Walk(segment)
    durable = max(segment.base, known)
    damage = []  # (first, next or None, position)
    sealed_at = None
    while True:
        at = walk.position
        item = walk.step(size)
        if item is None:
            break
        if isinstance(item, Seal):
            durable = max(durable, item.durable_before)
            sealed_at = at + 64
            break
        if isinstance(item, Lost):
            damage.append((item.first, item.next, item.position))
            if item.next is None:
                break
        else:
            durable = max(durable, item.header.durable_before)
            if item.payload is None:
                damage.append((item.header.offset, item.header.offset + 1, at))
    for first, after, position in damage:
        if after is None or after > durable:
            return max(first, durable), position
    return max(walk.expected, durable), sealed_at or min(walk.position, size)


def sync(segment: Segment) -> bool:
    """What a killed writer left may only be in the page cache; False when it cannot be kept."""
    try:
        os.fdatasync(segment.fd)
        return True
    except OSError:
        return False
