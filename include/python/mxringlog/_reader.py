"""Goes through a log that may be written, rolled, removed or replaced meanwhile."""

from __future__ import annotations

import bisect
import os
from typing import Iterator, List, NamedTuple, Optional, Tuple, Union

from ._disk import POISONED, STARTING, Files, Segment, refused
from ._errors import BeyondEnd, Damaged, LogError, NotALog, OtherLog
from ._record import Gap, Record
from ._walk import Found, Lost, Seal, Walk, find_end, sync

Entry = Union[Record, Gap]


class View(NamedTuple):
    """How far the log may be read, at one moment."""

    end: int  # one past the last record to show
    known: bool  # False: a writer has just started and looks for the end
    live: bool  # somebody writes
    segment: int  # in this one only bytes below `limit` are settled
    limit: int
    epoch: int
    flags: int


class Look:
    """Finds out where the log ends."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._end_of: Optional[Tuple[Tuple[int, ...], Tuple[int, int]]] = None

    def view(self) -> View:
        for _ in range(1000):
            if self.files.has_writer():
                page = self.files.state()
                if page is None or page.flags & STARTING:
                    return View(0, False, True, 0, 0, 0, 0)
                return View(page.durable, True, True, page.segment, page.position, page.epoch,
                            page.flags)
            view = self._without_writer()
            if view is not None and not self.files.has_writer():
                return view
        raise LogError(f"{self.files.directory} changes all the time")

    def _without_writer(self) -> Optional[View]:
        bases = self.files.bases()
        page = self.files.state()
        if not bases:
            if page is None:
                raise NotALog(f"{self.files.directory} holds no mxring log")
            return View(page.durable, True, False, page.segment, 0, 0, page.flags)
        segment = self.files.open(bases[-1])
        if segment is None:
            return None
        with_page = page.durable if page is not None else 0
        flags = page.flags if page is not None else 0
        try:
            if segment.header is None:
                return View(max(segment.base, with_page), True, False, segment.base, 0, 0, flags)
            end, position = self._end(segment, with_page, flags)
            return View(end, True, False, segment.base, position, segment.header.epoch, flags)
        except OSError as error:
            raise refused(error, segment.path) from error
        finally:
            segment.close()

    def _end(self, segment: Segment, known: int, flags: int) -> Tuple[int, int]:
        kept = sync(segment)
        status = segment_key(segment) + (known, flags, int(kept))
        if self._end_of is None or self._end_of[0] != status:
            end, position = find_end(segment, known, bool(flags & POISONED))
            if not kept:
                end = min(end, max(known, segment.base))
            self._end_of = (status, (end, position))
        return self._end_of[1]


def segment_key(segment: Segment) -> Tuple[int, ...]:
    status = os.fstat(segment.fd)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Reader:
    """A place in a log. `next` is the offset that comes next."""

    def __init__(self, files: Files, next_offset: int, refused_too: bool, check: bool) -> None:
        self.files = files
        self.next = next_offset
        self._refused_too = refused_too
        self._check = check
        self._walk: Optional[Walk] = None
        self._left = -1  # base of the segment that has been gone through
        self._last: Optional[Tuple[int, int, Optional[str], int]] = None  # base epoch id offset
        self.state = (files.state_inode(), 0, 0)

    def close(self) -> None:
        if self._walk is not None:
            self._walk.segment.close()
        self._walk = None

    def entries(self, view: View) -> Iterator[Entry]:
        """Everything up to the view's end."""
        self.check(view)
        while self.next < view.end:
            try:
                entry = self._one(view)
            except OSError as error:
                raise refused(error, self.files.directory) from error
            if isinstance(entry, Gap):
                self.next = entry.next
            if entry is not None:
                yield entry

    def _one(self, view: View) -> Optional[Entry]:
        """One step; None when there is nothing to show for it."""
        if self._walk is not None and self._was_replaced(view):
            self.close()
        if self._walk is None:
            gap = self._enter(view)
            if self._walk is None:
                return gap
        walk = self._walk
        if walk.expected > self.next:
            return Gap(self.next, min(walk.expected, view.end), "damaged")
        limit = view.limit if walk.segment.base == view.segment else walk.segment.size()
        item = walk.step(limit, skip=walk.expected < self.next)
        if isinstance(item, Found) and item.header.offset < self.next:
            return None
        if isinstance(item, Found) and item.payload is not None:
            return self._record(walk, item)
        if isinstance(item, Seal):
            self._left = walk.segment.base
            self.close()
            return None
        if not walk.segment.is_current():  # removed while it was read: nothing is wrong with it
            self.close()
            return None
        if isinstance(item, Found):
            return Gap(self.next, self.next + 1, "damaged")
        if isinstance(item, Lost) and item.next is not None:
            if item.next <= self.next:
                return None
            return Gap(self.next, min(item.next, view.end), "damaged")
        return self._end_without_seal(walk, view)

    def _was_replaced(self, view: View) -> bool:
        """The newest segment may be replaced by another as long as it has no record."""
        walk = self._walk
        return (walk is not None and view.live and walk.segment.base == view.segment and
                walk.epoch != view.epoch)

    def _record(self, walk: Walk, item: Found) -> Optional[Entry]:
        header, payload = item.header, item.payload
        assert payload is not None and walk.segment.header is not None
        log_id = walk.segment.header.log_id
        self._last = (walk.segment.base, walk.epoch, log_id, header.offset)
        record = Record(header.offset, header.received_at, log_id, payload[:header.message_bytes],
                        payload[header.message_bytes:])
        if header.message_bytes == 0:
            try:
                if record.is_refusal and not self._refused_too:
                    self.next = header.offset + 1
                    return None
            except Damaged:
                return Gap(header.offset, header.offset + 1, "damaged")
        self.next = header.offset + 1
        return record

    def _end_without_seal(self, walk: Walk, view: View) -> Optional[Entry]:
        base = walk.segment.base
        if base == view.segment:
            walk.expected = view.end  # goes on where it is
            return Gap(self.next, view.end, "damaged")
        after = [b for b in self.files.bases() if b > base]
        upper = min(after[0], view.end) if after else view.end
        self._left = base
        self.close()
        return Gap(self.next, upper, "damaged") if upper > self.next else None

    def _enter(self, view: View) -> Optional[Gap]:
        """Opens the segment of the next record; a gap when there is none."""
        bases = self.files.bases()
        self._same_log(bases)
        index = bisect.bisect_right(bases, self.next)
        upper = min(bases[index], view.end) if index < len(bases) else view.end
        if index == 0:
            return Gap(self.next, upper, "removed")
        base = bases[index - 1]
        if base == self._left:
            return Gap(self.next, upper, "damaged")
        segment = self.files.open(base)
        if segment is None:
            return None
        if segment.header is None:
            current = segment.is_current()
            segment.close()
            return Gap(self.next, upper, "damaged") if current else None
        self._walk = Walk(segment, self._check)
        limit = view.limit if base == view.segment else segment.size()
        if self.next > base:
            self._walk.seek_by_index(limit, self.next)
        return None

    def check(self, view: View) -> None:
        """That this is still the log that was read before."""
        if self.next > view.end:
            raise BeyondEnd(f"offset {self.next} is beyond the end of the log, {view.end}: it was "
                            "made anew or put back from an older copy")
        # The number of a removed inode may be given to the next file: it does not say enough alone.
        state = (self.files.state_inode(), view.segment, view.epoch)
        if state != self.state:
            self._same_log(self.files.bases())
            self.state = state

    def _same_log(self, bases: List[int]) -> None:
        """The half of an epoch that is random tells a segment from any other of its name."""
        if self._last is None:
            return
        base, epoch, log_id, offset = self._last
        index = bisect.bisect_right(bases, offset)
        if index > 0:
            if bases[index - 1] == base:
                segment = self.files.open(base)
                if segment is None:
                    return
                header = segment.header
                segment.close()
                if header is None or header.epoch == epoch:
                    return
        elif log_id is None or not bases or bears(self.files, bases, log_id):
            return
        raise OtherLog(f"{self.files.directory} is another log than the one that was read up to "
                       f"offset {offset}: it was made anew or put back from an older copy")


def bears(files: Files, bases: List[int], log_id: Optional[str]) -> bool:
    """Whether any segment, or the next one, has this log id."""
    if log_id is not None and files.next_log_id() == log_id:
        return True
    for base in bases:
        segment = files.open(base)
        if segment is not None:
            header = segment.header
            segment.close()
            if header is not None and header.log_id == log_id:
                return True
    return False
