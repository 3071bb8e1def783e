"""A server under measurement: on one core, ready when it has printed its line, with the CPU time of
all its threads in nanoseconds. For the programs of this folder."""

import glob
import re
import select
import signal
import subprocess


class DidNotStart(Exception):
    pass


class PinnedServer:
    def __init__(self, command, cpu):
        self.process = subprocess.Popen(["taskset", "-c", str(cpu), *command],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if not select.select([self.process.stdout], [], [], 20)[0]:
            self.stop()
            raise DidNotStart(f"{command[0]} is not ready after 20 s")
        ready = re.search(r"127\.0\.0\.1:(\d+)", self.process.stdout.readline().decode())
        if ready is None:
            self.stop()
            raise DidNotStart(f"{command[0]} did not start")
        self.address = f"127.0.0.1:{ready[1]}"

    def cpu_ns(self):
        """Of all threads; none ends while the server runs."""
        total = 0
        for path in glob.glob(f"/proc/{self.process.pid}/task/*/schedstat"):
            with open(path, encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.process.stdout.close()
