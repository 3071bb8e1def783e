"""The second engine: hosts and containers that forbid io_uring get their mail over epoll. Deliveries
and kills on it, and what happens where io_uring_setup(2) and its like are forbidden."""

import contextlib
import ctypes
import errno
import os
import platform
import smtplib
import struct
import subprocess
import sys

import delivery_test
import kill_test
import mxtest
from mxtest import Log, sample_message, sha256

# io_uring_setup, io_uring_enter, io_uring_register: the same numbers on every architecture.
IO_URING_CALLS = (425, 426, 427)
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_ALLOW = 0x7FFF0000


def forbid_io_uring():
    """As the profiles of container runtimes do; for whatever is executed after it."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    steps = [(load, 0, 0, 0)]  # the call's number
    for i, call in enumerate(IO_URING_CALLS):
        steps.append((equal, len(IO_URING_CALLS) - i, 0, call))
    steps.append((give, 0, 0, SECCOMP_RET_ALLOW))
    steps.append((give, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps),
                                                      ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")


def engines(pid):
    """What a process has open of either kind."""
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue  # closed meanwhile
    return {"io_uring": sum("io_uring" in link for link in links),
            "epoll": sum("eventpoll" in link for link in links)}


class Delivery(delivery_test.Smtplib):
    CONFIG = {**delivery_test.Smtplib.CONFIG, "shards": {"engine": "epoll"}}

    def setUp(self):
        super().setUp()
        found = engines(self.server.pid)
        self.assertEqual(found["io_uring"], 0)
        self.assertGreaterEqual(found["epoll"], 1)


class Kill(kill_test.Kill):
    ROUNDS = int(os.environ.get("MXRING_EPOLL_KILLS", "12"))
    ACKNOWLEDGED_MIN = 1

    @classmethod
    def setUpClass(cls):
        os.environ["MXRING_SHARDS__ENGINE"] = "epoll"

    @classmethod
    def tearDownClass(cls):
        del os.environ["MXRING_SHARDS__ENGINE"]

    def setUp(self):
        super().setUp()
        self.assertEqual(engines(self.server.pid)["io_uring"], 0)


class Forbidden(mxtest.TestCase):
    def start(self, engine):
        if platform.machine() not in ("x86_64", "aarch64"):
            self.skipTest("the numbers of the system calls are not known here")
        with contextlib.suppress(OSError), open("/proc/sys/kernel/io_uring_disabled") as text:
            if text.read().strip() == "2":
                self.skipTest("this host forbids io_uring to everybody: another line says so")
        return self.serve({"shards": {"engine": engine}}, preexec=forbid_io_uring)

    def test_auto_says_so_once_and_receives_on_epoll(self):
        server = self.start("auto")
        self.assertEqual(engines(server.pid)["io_uring"], 0)
        lines = [line for line in server.stderr().splitlines() if "epoll" in line]
        self.assertEqual(len(lines), 1, server.stderr())
        self.assertIn("costs more processor time", lines[0])
        self.assertIn("io_uring is forbidden by a seccomp filter", lines[0])
        self.assertIn("io_uring_setup", lines[0], "what to allow")
        messages = [sample_message(size, f"size{size}") for size in (300, 20_000, 1_000_000)]
        with smtplib.SMTP(*server.address, timeout=60) as client:
            for message in messages:
                client.sendmail("a@client.test", ["b@mx.test"], message)
        records = Log(server.log_dir).records()
        self.assertEqual([r["sha256"] for r in records], [sha256(m) for m in messages])
        self.assertEqual(server.stop(), 0)
        self.assertEqual(Log(server.log_dir).verify()[0], 0)

    def test_who_insists_on_io_uring_is_told_what_to_allow(self):
        with self.assertRaises(AssertionError) as refused:
            self.start("io_uring")
        self.assertIn("io_uring is forbidden by a seccomp filter", str(refused.exception))

    def test_the_filter_forbids(self):
        """Else the others show nothing."""
        # 425 with nowhere to put its answer: EFAULT where nobody forbids it.
        code = ("import ctypes; c = ctypes.CDLL(None, use_errno=True); "
                "print(c.syscall(425, 8, None), ctypes.get_errno())")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              timeout=60, preexec_fn=forbid_io_uring)
        self.assertEqual(done.stdout.split(), ["-1", str(errno.EPERM)], done.stderr)


if __name__ == "__main__":
    mxtest.main()
