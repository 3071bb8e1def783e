"""What the compared servers have in common: a temporary folder, a pinned process, a port."""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from accounting import Account


class Problem(Exception):
    """Something that makes a run worthless; its text says what."""


class Skip(Exception):
    """A server that cannot be run here; its text says why."""


def program(name, options=None):
    """A program in PATH, where Debian keeps administrators' programs, or among the peers."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
    if options is not None:
        root = os.path.join(options.peers_dir, "root")
        places += [os.path.join(root, part) for part in ("usr/sbin", "usr/bin", "sbin", "bin")]
    path = shutil.which(name, path=":".join(places))
    if path is None:
        raise Skip(f"{name} is not installed")
    return path


def libraries(options):
    """For programs that were only unpacked."""
    root = os.path.join(options.peers_dir, "root")
    folders = [os.path.join(root, part) for part in
               ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib")]
    return ":".join(folder for folder in folders if os.path.isdir(folder))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def read_line(stream, seconds):
    """One line of a pipe, or None when it does not come in time or the pipe is closed."""
    line = b""
    deadline = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([stream], [], [], left)[0]:
            return None
        byte = os.read(stream.fileno(), 1)
        if not byte:
            return None
        line += byte
    return line.decode(errors="replace")


class Server:
    """One server. Subclasses know how it is started and what it counts."""

    name = ""        # in the table, one for each kind of work
    work = ""        # discard, store or verify
    comment = ""     # what it does exactly
    resolver = None  # a mounted resolv.conf, for programs that know only the system's

    def __init__(self, options):
        self.options = options
        self.process = None
        self.port = 0
        self.directory = None
        self.account = None

    # --- for subclasses ---------------------------------------------------------------------

    def start(self):
        raise NotImplementedError

    def make_directory(self, parent=None):
        """With a short path, for sockets' names, and open to users the server changes to."""
        self.directory = tempfile.mkdtemp(prefix="mxc-", dir=parent or self.options.log_parent)
        os.chmod(self.directory, 0o755)
        return self.directory

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def launch(self, command, environment=None, directory=None):
        """Pinned, in an account of its own; more than one process may be launched."""
        if self.account is None:
            self.account = Account(re.sub(r"[^a-z0-9]+", "-", self.name.lower()))
        stderr = tempfile.TemporaryFile()
        command = [program("taskset"), "-c", str(self.options.server_cpu)] + command
        if self.resolver is not None:
            script = f'mount --bind {self.resolver} /etc/resolv.conf && exec "$@"'
            command = [program("unshare"), "--mount", "sh", "-c", script, "sh"] + command
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, bufsize=0,
            env={**os.environ, **(environment or {})}, cwd=directory,
            preexec_fn=self.account.enter, start_new_session=True)
        if self.process is None:
            self.process = process
            self.stderr = stderr
            self.account.root = process.pid
        return process

    def complaint(self):
        self.stderr.seek(0)
        text = self.stderr.read().decode(errors="replace").strip()
        return text.splitlines()[-1][:200] if text else f"exit status {self.process.poll()}"

    def await_ready(self, pattern):
        """Reads lines until one matches; the match."""
        while (line := read_line(self.process.stdout, 20)) is not None:
            match = re.match(pattern, line)
            if match:
                return match
        raise Skip(f"did not start: {self.complaint()}")

    def await_port(self, port=None, seconds=30):
        """Until somebody greets on the port."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() not in (None, 0):
                raise Skip(f"did not start: {self.complaint()}")
            try:
                with socket.create_connection(("127.0.0.1", port or self.port), 1) as greeted:
                    greeted.settimeout(10)
                    if greeted.recv(4).startswith(b"220"):
                        greeted.sendall(b"QUIT\r\n")
                        while greeted.recv(4096):
                            pass
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise Skip(f"does not greet on its port: {self.complaint()}")

    # --- for the measurement ----------------------------------------------------------------

    def cpu_seconds(self):
        return self.account.cpu_seconds()

    def counters(self):
        """Counters of the server so far, for those that have any."""
        return {}

    def derive(self, before, after, messages):
        """Figures for the table from counters before and after; raises when not all accepted."""
        del before, after, messages
        return {}

    def stored(self):
        """How many messages lie in its store; None for those that store nothing or cannot say."""
        return None

    def finish(self, messages_in_all):
        """Stops the server; figures that are known only at its end."""
        stored = self.stored()
        if stored is not None and stored != messages_in_all:
            raise Problem(f"stored {stored} messages, not {messages_in_all}")
        self.stop()
        return {}

    def stop(self):
        """Ends the process and removes its folder; what is left of its output."""
        output = ""
        try:
            if self.process is not None:
                if self.process.poll() is None:
                    self.process.send_signal(signal.SIGTERM)
                try:
                    output = self.process.communicate(timeout=60)[0].decode(errors="replace")
                except ValueError:
                    pass  # its output has been read to the end
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.communicate()
                    raise Problem("did not end on SIGTERM") from None
        finally:
            if self.account is not None:
                self.account.end()
                self.account = None
            if self.directory is not None:
                shutil.rmtree(self.directory, ignore_errors=True)
                self.directory = None
        return output
