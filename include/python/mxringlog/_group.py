"""A named reader's place on disk: two slots written in turn, one owner by lock."""

from __future__ import annotations

import bisect
import contextlib
import errno
import os
import re
import struct
import threading
import time
import warnings
from typing import NamedTuple, Optional

from ._crc import Crc
from ._disk import Files, take_lock, whole_pread
from ._errors import BeyondEnd, GroupError, OtherLog, Owned, Paused
from ._reader import View, bears

HOLDS, PAUSED = 1, 2
_SLOT = struct.Struct("<8sQ16sQqIIQ56sI")
_MAGIC = b"MXRGCUR1"
_BYTES = 8192
_SLOT_AT = 4096
_BETWEEN_WRITES_S = 0.2


class Fields(NamedTuple):
    generation: int
    log_id: bytes
    next: int
    committed_at_us: int
    flags: int
    dead: int
    handed_over: int
    sink: bytes


def _slot(data: bytes, which: int, crc: Crc) -> Optional[Fields]:
    if len(data) < 128 or data[:8] != _MAGIC:
        return None
    fields = Fields._make(_SLOT.unpack(data[:124])[1:9])
    if crc(0, data[:124]) != int.from_bytes(data[124:128], "little"):
        return None
    return fields if fields.generation > 0 and fields.generation % 2 == which else None


def _packed(fields: Fields, crc: Crc) -> bytes:
    data = _SLOT.pack(_MAGIC, *fields, 0)
    return data + crc(0, data).to_bytes(4, "little")


def log_id_at(files: Files, offset: int) -> Optional[bytes]:
    """The log id of the segment that this offset is in, zeros when it is older than log ids; None
    when there is no such segment."""
    if offset < 0:
        return None
    bases = files.bases()
    index = bisect.bisect_right(bases, offset)
    segment = files.open(bases[index - 1]) if index else None
    if segment is None:
        return None
    header = segment.header
    segment.close()
    if header is None:
        return None
    return bytes.fromhex(header.log_id) if header.log_id else bytes(16)


class Cursor:
    """Opened, it is owned. `committed` is on disk."""

    def __init__(self, files: Files, name: str, start: Optional[int], holds: bool) -> None:
        """`start`: where a group begins that does not exist; None: then it is an error."""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise GroupError(f"{name!r} is no group's name: 1 to 64 of A-Z a-z 0-9 _ -")
        self.files = files
        self.name = name
        self.began_again = False
        self._wanted = 0
        self._wrote_at = -1.0
        self._writing: Optional[threading.Thread] = None
        self._failed: Optional[OSError] = None
        self.folder = files.path("groups")
        self.path = os.path.join(self.folder, name + ".cursor")
        self.fd = -1
        try:
            self._open(start, holds)
        except OSError as error:
            self._close_fd()
            raise GroupError(f"group {name}: {error.filename or self.path}: "
                             f"{error.strerror}") from error
        except BaseException:
            self._close_fd()
            raise

    def _open(self, start: Optional[int], holds: bool) -> None:
        while self.fd < 0:
            try:
                self.fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                if start is None:
                    raise GroupError(f"there is no group {self.name}") from None
                self._create(start, holds)
            if self.fd >= 0 and not self._own(self.fd, self.path):
                self._close_fd()  # deleted meanwhile
        with contextlib.suppress(OSError):
            owner = os.open(self.path[:-len("cursor")] + "owner",
                            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            os.write(owner, f"{os.getpid()}\n".encode())
            os.close(owner)
        data = whole_pread(self.fd, _BYTES, 0)
        slots = [_slot(data[at:at + 128], which, self.files.crc)
                 for which, at in ((0, 0), (1, _SLOT_AT))]
        good = [fields for fields in slots if fields is not None]
        if good:
            self.fields = max(good)
        else:
            self._begin_again()
        if self.fields.flags & PAUSED:
            raise Paused(f"group {self.name} is paused: mxring groups resume "
                         f"{self.files.directory} {self.name}")
        self._wanted = self.fields.next

    def _own(self, fd: int, path: str) -> bool:
        """False when the name leads to another file now."""
        if not take_lock(fd):
            who = "another process"
            with contextlib.suppress(OSError), open(self.path[:-len("cursor")] + "owner") as text:
                who += f" (pid {text.read(20).strip()})"
            raise Owned(f"{who} reads for group {self.name}")
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(fd), os.stat(path))
        return False

    def _create(self, start: int, holds: bool) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.folder)
            os.chmod(self.folder, 0o3770)
        path = self.path + ".tmp"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            if not self._own(fd, path) or os.path.exists(self.path):
                return
            fields = Fields(1, self._log_id_for(start), start, _now_us(), HOLDS if holds else 0, 0,
                            start, bytes(56))
            os.fchmod(fd, 0o640)
            image = (bytes(_SLOT_AT) + _packed(fields, self.files.crc)).ljust(_BYTES, b"\0")
            if os.pwrite(fd, image, 0) != _BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            os.ftruncate(fd, _BYTES)
            os.fsync(fd)
            os.rename(path, self.path)
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self.fd, fd = fd, -1
        finally:
            if fd >= 0:
                os.close(fd)

    def _begin_again(self) -> None:
        """Both slots are damaged: all that is kept comes again, and nothing is lost."""
        bases = self.files.bases()
        first = bases[0] if bases else 0
        warnings.warn(f"the cursor of group {self.name} is damaged: it begins again at the "
                      f"earliest record, {first}", RuntimeWarning, stacklevel=5)
        self.began_again = True
        self.fields = Fields(0, self._log_id_for(first), first, _now_us(), HOLDS, 0, first,
                             bytes(56))

    def _log_id_for(self, next_offset: int) -> bytes:
        """That of the record before, else of that record, else of the records to come."""
        for offset in (next_offset - 1, next_offset):
            log_id = log_id_at(self.files, offset)
            if log_id is not None:
                return log_id
        text = self.files.next_log_id()
        return bytes.fromhex(text) if text else bytes(16)

    def check_place(self, view: View) -> None:
        """That the cursor is of this log, and not beyond its end."""
        reset = f"mxring groups reset {self.files.directory} {self.name}"
        fields = self.fields
        places = [log_id_at(self.files, o) for o in (fields.next - 1, fields.next)]
        text = fields.log_id.hex() if any(fields.log_id) else None
        if any(place is not None for place in places):
            ours = fields.log_id in places
        else:
            ours = bears(self.files, self.files.bases(), text)
        if not ours:
            raise OtherLog(f"the cursor of group {self.name} is of another log "
                           f"({text or 'without an id'}): the log was made anew or put back from "
                           f"an older copy; {reset}")
        if fields.next > view.end:
            raise BeyondEnd(f"the cursor of group {self.name}, {fields.next}, is beyond the end of "
                            f"the log, {view.end}: it was put back from an older copy; {reset}")

    def commit(self, next_offset: int, handed_over: int) -> None:
        """Does not wait for the disk: a thread writes."""
        self._wanted = max(self._wanted, next_offset)
        self._settle(wait=False)
        if self._writing is not None or not self.overdue:
            return
        fields = self._to_write(handed_over)
        try:
            self._writing = threading.Thread(target=self._write, args=(fields,), daemon=True)
            self._writing.start()
        except RuntimeError:  # no thread to be had, or the interpreter is going down
            self._writing = None
            self._write(fields)
            self._settle(wait=True)

    @property
    def overdue(self) -> bool:
        return (self._wanted > self.fields.next and
                time.monotonic() - self._wrote_at >= _BETWEEN_WRITES_S)

    def flush(self, handed_over: int) -> None:
        """What is wanted is on disk when this returns."""
        self._settle(wait=True)
        if self._wanted <= self.fields.next:
            return
        if self.fd < 0:
            raise GroupError(f"group {self.name} has been closed")
        left = self._wrote_at + _BETWEEN_WRITES_S - time.monotonic()
        if self._wrote_at >= 0 and left > 0:
            time.sleep(left)
        self._write(self._to_write(handed_over))
        self._settle(wait=True)

    def _to_write(self, handed_over: int) -> Fields:
        return self.fields._replace(
            generation=self.fields.generation + 1, log_id=self._log_id_for(self._wanted),
            next=self._wanted, committed_at_us=_now_us(),
            handed_over=max(handed_over, self._wanted))

    def _write(self, fields: Fields) -> None:
        """In any thread, one at a time."""
        try:
            at = fields.generation % 2 * _SLOT_AT
            if os.pwrite(self.fd, _packed(fields, self.files.crc), at) != 128:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self.fd)
            self.fields = fields
        except OSError as error:
            self._failed = error
        self._wrote_at = time.monotonic()

    def _settle(self, wait: bool) -> None:
        """Raises what a write that has ended met."""
        if self._writing is not None:
            if wait:
                self._writing.join()
            if self._writing.is_alive():
                return
            self._writing = None
        error, self._failed = self._failed, None
        if error is not None:
            raise GroupError(f"{self.path}: {error.strerror}") from error

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self._close_fd()

    def _close_fd(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def close(self, handed_over: int) -> None:
        if self.fd < 0:
            return
        try:
            self.flush(handed_over)
        finally:
            self._close_fd()


def _now_us() -> int:
    return time.time_ns() // 1000
