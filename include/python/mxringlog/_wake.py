"""Waits for the writer: by futex on the state page, or by looking again and again.

The page is mapped, but never touched here: only the kernel reads it, and answers EFAULT where this
process would be ended by a signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import sys
import time
from typing import Optional, Tuple

from ._disk import WAKES, Files
from ._reader import View

_FUTEX_WAIT = 0
_NUMBERS = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "loongarch64": 98, "s390x": 238,
            "ppc64le": 221}
_FAILED = ctypes.c_void_p(-1).value
AT_MOST_S = 0.5  # nobody wakes for a writer that was killed


class _Time(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class Bell:
    def __init__(self, files: Files) -> None:
        self._files = files
        self._number = _NUMBERS.get(platform.machine(), 0) if ctypes.sizeof(
            ctypes.c_void_p) == 8 else 0
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                                    ctypes.c_int, ctypes.c_long]
        self._libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self._fd = -1
        self._inode: Optional[Tuple[int, int]] = None
        self._page: Optional[int] = None
        self._pause = 0.001

    def value(self) -> Optional[bytes]:
        """What the page's sequence says now; to be read before looking for something new."""
        inode = self._files.state_inode()
        if inode is None or inode != self._inode:
            self.close()
            if inode is None:
                return None
            with contextlib.suppress(OSError):
                self._fd = os.open(self._files.path("state"), os.O_RDONLY | os.O_CLOEXEC)
                status = os.fstat(self._fd)
                self._inode = (status.st_dev, status.st_ino)
        if self._fd < 0:
            return None
        with contextlib.suppress(OSError):
            raw = os.pread(self._fd, 4, 8)
            return raw if len(raw) == 4 else None
        return None

    def wait(self, value: Optional[bytes], view: Optional[View], at_most_s: float) -> None:
        """Until the sequence is another than this value, or the time is up."""
        if value is not None and view is not None and view.live and view.flags & WAKES:
            if self._futex(int.from_bytes(value, sys.byteorder), min(at_most_s, AT_MOST_S)):
                self._pause = 0.001
                return
        time.sleep(max(0.0, min(at_most_s, self._pause)))
        self._pause = min(2 * self._pause, 0.05)

    def rang(self) -> None:
        self._pause = 0.001

    def _futex(self, value: int, at_most_s: float) -> bool:
        if not self._number or self._fd < 0:
            return False
        if self._page is None:
            page = self._libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED,
                                   self._fd, 0)
            if page is None or page == _FAILED:
                return False
            self._page = page
        limit = _Time(int(at_most_s), int(at_most_s % 1 * 1e9))
        result = self._libc.syscall(
            ctypes.c_long(self._number), ctypes.c_void_p(self._page + 8),
            ctypes.c_long(_FUTEX_WAIT), ctypes.c_uint32(value), ctypes.byref(limit), None, 0)
        # EAGAIN (changed already), ETIMEDOUT, EINTR; anything else: this does not work here.
        return result == 0 or ctypes.get_errno() in (11, 110, 4)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def close(self) -> None:
        if self._page is not None:
            self._libc.munmap(self._page, mmap.PAGESIZE)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._inode, self._page = -1, None, None
