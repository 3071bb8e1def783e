"""The log of mxring, and following it."""

from __future__ import annotations

import datetime
import os
import time
from types import TracebackType
from typing import Iterator, List, NamedTuple, Optional, Type, Union

from ._crc import choose
from ._disk import Files, refused
from ._errors import BeyondEnd, GroupError, LogError, NotALog
from ._group import Cursor
from ._reader import Entry, Look, Reader, View
from ._record import Gap, Record
from ._wake import Bell
from ._walk import Found, Seal, Walk, seal_at_end

_STARTING_S = 10.0
Start = Union[str, int, datetime.datetime]


class Checks(NamedTuple):
    """What is checked, and by what."""

    library: str  # "crc32c" (the module), "isal" (ISA-L), "table" (plain Python, slow)
    payloads: bool  # messages and metadata too, or the headers of records only


class Log:
    """A log directory. Nothing is written, except for groups; any number of readers may read while
    the server writes.

    `library`: see Checks; "" takes the quickest that is here. `payloads=False` leaves the checks of
    messages out, which plain Python does at some 40 MB/s. `wait`: how many seconds to wait for the
    directory to hold a log.
    """

    def __init__(self, directory: Union[str, "os.PathLike[str]"], *, library: str = "",
                 payloads: bool = True, wait: float = 0.0) -> None:
        self.directory = os.fspath(directory)
        name, crc = choose(library)
        self.checks = Checks(name, payloads)
        self._files = Files(self.directory, crc)
        self._look = Look(self._files)
        end = time.monotonic() + wait
        while True:
            try:
                self._look.view()
                return
            except NotALog:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.02)

    def _view(self) -> View:
        """Waits while a writer has just started and looks for the end."""
        end = time.monotonic() + _STARTING_S
        while True:
            view = self._look.view()
            if view.known:
                return view
            if time.monotonic() >= end:
                error = LogError(f"{self.directory}: a server has just started on it and looks for "
                                 "its end")
                error.can_continue = True
                raise error
            time.sleep(0.005)

    @property
    def first(self) -> int:
        """The oldest offset kept."""
        bases = self._files.bases()
        return bases[0] if bases else self._view().end

    @property
    def end(self) -> int:
        """One past the newest record."""
        return self._view().end

    @property
    def log_id(self) -> Optional[str]:
        """Of new records."""
        text = self._files.next_log_id()
        if text is not None:
            return text
        for base in reversed(self._files.bases()):
            segment = self._files.open(base)
            if segment is not None:
                header = segment.header
                segment.close()
                if header is not None:
                    return header.log_id
        return None

    def records(self, start: Optional[Start] = None, stop: Optional[int] = None, *,
                refused: bool = False) -> Iterator[Entry]:
        """Records [start, stop) that there are now, in order; a Gap where some are missing.

        `start`: an offset, "earliest" (as None), "latest", or a time. Records of refused mail,
        which have no message, come only with `refused`."""
        view = self._view()
        begin = self._offset(start, view)
        reader = Reader(self._files, begin, refused, self.checks.payloads)
        if begin > view.end:
            reader.check(view)
        end = view.end if stop is None else min(stop, view.end)
        return self._entries(reader, view, end)

    @staticmethod
    def _entries(reader: Reader, view: View, end: int) -> Iterator[Entry]:
        try:
            if reader.next >= end:
                return
            for entry in reader.entries(view):
                if isinstance(entry, Gap):
                    if entry.first < end:
                        yield entry._replace(next=min(entry.next, end))
                elif entry.offset < end:
                    yield entry
                if reader.next >= end:
                    return
        finally:
            reader.close()

    def follow(self, group: Optional[str] = None, *, start: Optional[Start] = None,
               create: bool = True, holds: bool = True, refused: bool = False,
               timeout: Optional[float] = None) -> "Follower":
        """Goes on for ever, waiting for what comes.

        With a group it begins at the group's cursor, and `commit()` moves that; `start` ("earliest"
        when it is not given) is where a group begins that does not exist yet. Without a group it
        begins at `start`, "latest" when it is not given. `timeout`: ends after so many seconds
        without anything new."""
        return Follower(self, group, start, create, holds, refused, timeout)

    def _offset(self, start: Optional[Start], view: View) -> int:
        if start is None or start == "earliest":
            bases = self._files.bases()
            return min(bases[0], view.end) if bases else view.end
        if start == "latest":
            return view.end
        if isinstance(start, datetime.datetime):
            return self.offset_at(start)
        if isinstance(start, bool) or not isinstance(start, int) or start < 0:
            raise ValueError(f"{start!r} is neither an offset nor \"earliest\", \"latest\" or a "
                             "datetime")
        return start

    def offset_at(self, moment: datetime.datetime) -> int:
        """The first record received at or after this moment; the end when there is none. A time
        without a zone is local."""
        wanted = int(moment.timestamp() * 1_000_000)
        view = self._view()
        for base in self._files.bases():
            segment = self._files.open(base)
            if segment is None or segment.header is None:
                continue
            try:
                seal = seal_at_end(segment)
                if seal is not None and seal.greatest_time < wanted:
                    continue
                limit = view.limit if base == view.segment else segment.size()
                walk = Walk(segment)
                walk.seek_by_index(limit, view.end, wanted)
                while walk.expected < view.end:
                    item = walk.step(limit, skip=True)
                    if item is None or isinstance(item, Seal):
                        break
                    if isinstance(item, Found) and item.header.received_at >= wanted:
                        return item.header.offset
            except OSError as error:
                raise refused(error, segment.path) from error
            finally:
                segment.close()
        return view.end


class Follower:
    """An iterator over a log that grows; see Log.follow. One thread at a time."""

    def __init__(self, log: Log, group: Optional[str], start: Optional[Start], create: bool,
                 holds: bool, refused_too: bool, timeout: Optional[float]) -> None:
        self._log = log
        self._timeout = timeout
        self._cursor: Optional[Cursor] = None
        self._bell = Bell(log._files)
        self._entries: Optional[Iterator[Entry]] = None
        self._view: Optional[View] = None  # the one last looked at
        view = log._view()
        if group is None:
            begin = log._offset("latest" if start is None else start, view)
        else:
            new = log._offset(start, view)
            if new > view.end:
                raise BeyondEnd(f"offset {new} is beyond the end of the log, {view.end}")
            self._cursor = Cursor(log._files, group, new if create else None, holds)
            try:
                self._cursor.check_place(log._view())
            except BaseException:
                self._cursor.close(0)
                raise
            begin = self._cursor.fields.next
        self._reader = Reader(log._files, begin, refused_too, log.checks.payloads)
        self._handed_over = begin  # one past the last entry that was returned
        self._done = begin

    @property
    def checks(self) -> Checks:
        return self._log.checks

    @property
    def position(self) -> int:
        """One past what has been handed over."""
        return self._handed_over

    @property
    def committed(self) -> int:
        """On disk: every record below it has been dealt with."""
        return self._need_cursor().fields.next

    def _need_cursor(self) -> Cursor:
        if self._cursor is None:
            raise GroupError("this follower has no group")
        return self._cursor

    def __iter__(self) -> "Follower":
        return self

    def __next__(self) -> Entry:
        entry = self.poll(self._timeout)
        if entry is None:
            raise StopIteration
        return entry

    def poll(self, timeout: Optional[float] = 0.0) -> Optional[Entry]:
        """The next record or gap; None when there is none in time (None: no limit)."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            value = self._bell.value()
            entry = self._one()
            if entry is not None:
                self._handed_over = (entry.next if isinstance(entry, Gap) else entry.offset + 1)
                self._write_if_overdue()
                return entry
            self._write_if_overdue()
            left = 3600.0 if end is None else end - time.monotonic()
            if left <= 0:
                return None
            self._bell.wait(value, self._view, min(left, 0.2) if self._behind() else left)

    def _one(self) -> Optional[Entry]:
        if self._entries is not None:
            entry = next(self._entries, None)
            if entry is not None:
                return entry
            self._entries = None
        self._view = view = self._log._look.view()
        if not view.known:
            return None
        if self._reader.next > view.end and self._cursor is not None:
            self._cursor.check_place(view)
        before = self._reader.state
        self._entries = self._reader.entries(view)
        entry = next(self._entries, None)
        if self._cursor is not None and self._reader.state != before:
            self._cursor.check_place(view)
        if entry is None:
            self._entries = None
        else:
            self._bell.rang()
        return entry

    def next_batch(self, records_max: int, timeout: Optional[float] = 0.0) -> List[Entry]:
        """Up to so many entries; waits for the first one only."""
        batch: List[Entry] = []
        while len(batch) < records_max:
            entry = self.poll(0.0 if batch else timeout)
            if entry is None:
                break
            batch.append(entry)
        return batch

    def commit(self, done: Union[None, Record, Gap, int] = None) -> int:
        """`done` and everything before it has been dealt with (an offset: everything below it;
        nothing: all that was handed over). Reaches the disk at most five times a second, without
        this call waiting for it; what is left over does with a later call, or when this is closed.
        Returns what is on disk by now; an error of the disk is raised by the next call."""
        cursor = self._need_cursor()
        if done is None:
            after = self._handed_over
        elif isinstance(done, Gap):
            after = done.next
        elif isinstance(done, Record):
            after = done.offset + 1
        else:
            after = done
        if after > self._handed_over:
            raise GroupError(f"offset {after - 1} was committed, and has not been handed over")
        self._done = max(self._done, after)
        cursor.commit(self._done, self._handed_over)
        return cursor.fields.next

    def flush(self) -> int:
        """As commit() of what was committed before, at once."""
        cursor = self._need_cursor()
        cursor.flush(self._handed_over)
        return cursor.fields.next

    def _behind(self) -> bool:
        return self._cursor is not None and self._done > self._cursor.fields.next

    def _write_if_overdue(self) -> None:
        """What was committed and not written; and refused mail that was passed over since."""
        if self._cursor is None:
            return
        if self._entries is None and self._done == self._handed_over < self._reader.next:
            self._done = self._handed_over = self._reader.next
            self._cursor.commit(self._done, self._handed_over)
        elif self._cursor.overdue:
            self._cursor.commit(self._done, self._handed_over)

    def close(self) -> None:
        """Writes what was committed, and lets another process read for the group."""
        self._reader.close()
        self._bell.close()
        if self._cursor is not None:
            self._cursor.close(self._handed_over)

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()
