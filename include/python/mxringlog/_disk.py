"""The files of a log: names, segment headers, state page, lock. What they mean is in FORMAT.md."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import struct
from typing import List, NamedTuple, Optional, Tuple

from ._crc import Crc
from ._errors import LogError, NotALog, UnknownVersion

BLOCK = 4096
POISONED, STARTING, WAKES = 1, 2, 4

_SEGMENT_HEADER = struct.Struct("<8sIIQQQI16sI")
_STATE = struct.Struct("<8sQQQQQQI")
_LOCK = struct.Struct("@hhqqi4x")
_SEGMENT_NAME = re.compile(r"([0-9]{20})\.seg")
_GET_LOCK = getattr(fcntl, "F_OFD_GETLK", 36)
_SET_LOCK = getattr(fcntl, "F_OFD_SETLK", 37)


class SegmentHeader(NamedTuple):
    epoch: int
    base: int
    salt: int
    log_id: Optional[str]


class State(NamedTuple):
    durable: int
    segment: int
    position: int
    epoch: int
    flags: int


def refused(error: OSError, what: str) -> LogError:
    return LogError(f"{what}: {os.strerror(error.errno or errno.EIO)}")


def whole_pread(fd: int, size: int, at: int) -> bytes:
    """Up to `size` bytes; fewer only where the file ends."""
    data = os.pread(fd, size, at)
    while data and len(data) < size:
        more = os.pread(fd, size - len(data), at + len(data))
        if not more:
            break
        data += more
    return data


def _parse_header(raw: bytes, base: int, crc: Crc, path: str) -> Optional[SegmentHeader]:
    if len(raw) < 64:
        return None
    magic, version, _, epoch, named, _, salt, log_id, check = _SEGMENT_HEADER.unpack(raw[:64])
    if magic != b"MXRGSEG1" or crc(0, raw[:60]) != check or named != base:
        return None
    if version != 1:
        raise UnknownVersion(f"{path} is of format {version}; this reads format 1")
    return SegmentHeader(epoch, base, salt, log_id.hex() if any(log_id) else None)


class Segment:
    """One open segment. `header` is None when both copies are damaged."""

    def __init__(self, directory: str, base: int, crc: Crc) -> None:
        self.base = base
        self.path = os.path.join(directory, f"{base:020}.seg")
        self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self.crc = crc
        try:
            block = whole_pread(self.fd, BLOCK, 0)
            self.header = (_parse_header(block, base, crc, self.path) or
                           _parse_header(block[2048:], base, crc, self.path))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.close()

    def is_current(self) -> bool:
        """Whether the name still leads to what is open here."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.fd))
        except FileNotFoundError:
            return False

    def size(self) -> int:
        return os.fstat(self.fd).st_size


class Files:
    """The directory of a log."""

    def __init__(self, directory: str, crc: Crc) -> None:
        self.directory = directory
        self.crc = crc

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def bases(self) -> List[int]:
        """The base offsets of the segments, ascending."""
        try:
            names = os.listdir(self.directory)
        except (FileNotFoundError, NotADirectoryError):
            raise NotALog(f"{self.directory} is no directory") from None
        except OSError as error:
            raise refused(error, self.directory) from error
        found = (_SEGMENT_NAME.fullmatch(name) for name in names)
        return sorted(int(match[1]) for match in found if match)

    def open(self, base: int) -> Optional[Segment]:
        """None when there is no such segment (any more)."""
        try:
            return Segment(self.directory, base, self.crc)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused(error, self.path(f"{base:020}.seg")) from error

    def has_writer(self) -> bool:
        try:
            fd = os.open(self.path("LOCK"), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise refused(error, self.path("LOCK")) from error
        try:
            asked = _LOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            answer: Tuple[int, ...] = _LOCK.unpack(fcntl.fcntl(fd, _GET_LOCK, asked))
            return answer[0] != fcntl.F_UNLCK
        except OSError as error:
            raise refused(error, self.path("LOCK")) from error
        finally:
            os.close(fd)

    def state(self) -> Optional[State]:
        """A consistent copy of the state page; None is as good as no page."""
        try:
            fd = os.open(self.path("state"), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused(error, self.path("state")) from error
        try:
            for _ in range(1000):
                raw = os.pread(fd, 64, 0)
                if len(raw) < 64 or raw[:8] != b"MXRGSTA1":
                    return None
                again = os.pread(fd, 8, 8)
                if raw[8] & 1 == 0 and raw[8:16] == again:
                    *_, check = fields = _STATE.unpack(raw[:60])
                    if self.crc(0, raw[16:56]) == check:
                        return State(*fields[2:7])
                os.sched_yield()
            return None
        except OSError as error:
            raise refused(error, self.path("state")) from error
        finally:
            os.close(fd)

    def state_inode(self) -> Optional[Tuple[int, int]]:
        try:
            status = os.stat(self.path("state"))
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def next_log_id(self) -> Optional[str]:
        """The id that the next segment will bear."""
        with contextlib.suppress(OSError):
            with open(self.path("log-id"), "rb") as file:
                text = file.read(40).decode("ascii", "replace").strip()
            if re.fullmatch("[0-9a-f]{32}", text):
                return text
        return None


def take_lock(fd: int) -> bool:
    """An open-file-description write lock on the whole file; False when somebody has one."""
    try:
        fcntl.fcntl(fd, _SET_LOCK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        return True
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
