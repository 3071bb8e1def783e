"""Sockets that outlive the server, as systemd hands them over."""

import os
import socket

import mxtest


class Sockets:
    """For a test case: makes listening sockets, and servers that find them from descriptor 3 on."""

    def listening(self, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        self.addCleanup(listener.close)
        listener.bind((host, 0))
        listener.listen(128)
        listener.setblocking(False)  # as systemd does
        return listener

    def hand_over(self, sockets, names, config=None, **more):
        moves = " ".join(f"{3 + i}<&{s.fileno() + 100}" for i, s in enumerate(sockets))
        script = (f"exec {moves}; export LISTEN_PID=$$ LISTEN_FDS={len(sockets)} "
                  f"LISTEN_FDNAMES={names}; exec \"$@\"")
        for s in sockets:
            os.dup2(s.fileno(), s.fileno() + 100)
            self.addCleanup(os.close, s.fileno() + 100)
        return mxtest.Server(self.directory, config, prefix=["bash", "-c", script, "bash"],
                             start=False, pass_fds=[s.fileno() + 100 for s in sockets], **more)
