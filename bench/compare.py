#!/usr/bin/env python3
"""Asks: what does receiving one message cost, next to a program that does nothing with it?

Runs the null sink, `mxring serve` (durable commits, and none) and Postfix smtp-sink in turn, in
interleaved rounds so that a change of the machine's mood hits all of them, with Postfix smtp-source
as the client. The server is pinned to one core and the client to another. The unit is CPU time of
all threads of the server per message, user and system, and messages per second as the client saw
them. A run counts only when the server accepted every message.

  bench/compare.py [--build DIR] [--quick] [--json]

Standard library only. Needs smtp-source and smtp-sink (Debian: postfix) and taskset (util-linux).
"""

import argparse
import collections
import glob
import json
import os
import platform
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MESSAGES = {1: 20_000, 10: 20_000, 100: 5_000}  # by size in KiB
QUICK_MESSAGES = {1: 5_000, 10: 5_000, 100: 1_000}
TICKS = os.sysconf("SC_CLK_TCK")

COPIED = ("copied_line_bytes_total", "copied_fragment_bytes_total", "copied_compact_bytes_total",
          "copied_header_bytes_total")

MXRING_CONFIG = """\
hostname = "bench.example"
[listen]
smtp = ["127.0.0.1:0"]
smtps = []
admin = "127.0.0.1:0"
[shards]
count = 1
[log]
dir = "{log_dir}"
sync = "{sync}"
[auth]
spf = false
dkim = false
dmarc = false
[limits]
messages_per_connection = 1000000000
"""


class Problem(Exception):
    """Something that makes a run worthless; its text says what."""


class Skip(Exception):
    """A server that cannot be run here; its text says why."""


def program(name):
    """A program in PATH or where Debian keeps administrators' programs."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise Skip(f"{name} is not installed")
    return path


def cpu_seconds(pid):
    """CPU time of a process, all threads, and of children it has waited for.

    /proc/PID/stat also has what ended threads used, but counts in ticks of 10 ms; the threads'
    schedstat has nanoseconds. Without ended threads they agree, and the finer one is taken.
    """
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    user, system, child_user, child_system = (int(field) / TICKS for field in fields[11:15])
    coarse = user + system
    fine = 0.0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(path, encoding="ascii") as file:
                fine += int(file.read().split()[0]) / 1e9
        except OSError:
            continue  # the thread has just ended
    children = child_user + child_system
    return (fine if abs(fine - coarse) < 0.05 else coarse) + children


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
    """A server process pinned to a core. Subclasses know how it is started and what it counts."""

    name = ""

    def __init__(self, options):
        self.options = options
        self.process = None
        self.port = 0

    def launch(self, command):
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [program("taskset"), "-c", str(self.options.server_cpu)] + command,
            stdout=subprocess.PIPE, stderr=self.stderr, bufsize=0)

    def complaint(self):
        self.stderr.seek(0)
        text = self.stderr.read().decode(errors="replace").strip()
        return text.splitlines()[-1] if text else f"exit status {self.process.poll()}"

    def await_ready(self, pattern):
        """Reads lines until one matches; the match."""
        while (line := read_line(self.process.stdout, 10)) is not None:
            match = re.match(pattern, line)
            if match:
                return match
        raise Skip(f"{self.name} did not start: {self.complaint()}")

    def stop(self):
        """Ends the process; what is left of its output."""
        if self.process is None:
            return ""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            output, _ = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise Problem(f"{self.name} did not end on SIGTERM") from None
        return output.decode(errors="replace")

    def counters(self):
        """Counters of the server so far, for those that have any."""
        return {}

    def derive(self, before, after, messages):
        """Figures for the table from counters before and after; raises when not all accepted."""
        del before, after, messages
        return {}

    def finish(self, messages_in_all):
        """Stops the server; figures that are known only at its end."""
        del messages_in_all
        self.stop()
        return {}


class NullSink(Server):
    name = "null sink"

    def start(self):
        if not os.access(self.options.null_sink, os.X_OK):
            raise Skip(f"{self.options.null_sink} has not been built")
        self.launch([self.options.null_sink, "--listen", "127.0.0.1:0"])
        self.port = int(self.await_ready(r"ready 127\.0\.0\.1:(\d+)")[1])

    def finish(self, messages_in_all):
        report = re.search(r"messages (\d+) .*system_calls_per_message ([\d.]+)", self.stop())
        if report is None or int(report[1]) != messages_in_all:
            raise Problem(f"the null sink counted {report and report[1]} messages, "
                          f"not {messages_in_all}")
        return {"system_calls": float(report[2])}


class Mxring(Server):
    def __init__(self, options, sync):
        super().__init__(options)
        self.sync = sync
        self.name = f"mxring, sync {sync}"
        self.directory = None
        self.admin = None

    def start(self):
        if not os.access(self.options.mxring, os.X_OK):
            raise Skip(f"{self.options.mxring} has not been built")
        self.directory = tempfile.mkdtemp(prefix="mxring-compare-", dir=self.options.log_parent)
        config = os.path.join(self.directory, "mxring.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(MXRING_CONFIG.format(log_dir=os.path.join(self.directory, "log"),
                                            sync=self.sync))
        self.launch([self.options.mxring, "serve", "--config", config])
        line = self.await_ready(r"ready .*")[0]
        found = dict(re.findall(r"(\w+)=(\S+)", line))
        if "smtp" not in found:
            raise Problem(f"mxring's ready line names no SMTP address: {line}")
        self.port = int(found["smtp"].rpartition(":")[2])
        self.admin = found.get("admin")

    def counters(self):
        if self.admin in (None, "off"):
            return {}
        # A shard publishes its own totals once a second, when it has something to do: give it that.
        time.sleep(1.1)
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            stream = connection.makefile("rwb", buffering=0)
            stream.readline()
            stream.write(b"QUIT\r\n")
            while stream.readline():
                pass
        with urllib.request.urlopen(f"http://{self.admin}/status", timeout=10) as answer:
            status = json.load(answer)
        return status.get("counters", status)

    def derive(self, before, after, messages):
        if not after:
            raise Problem("mxring has no admin address, so its counters cannot be checked")
        def grown(name):
            return after[name] - before[name]
        if grown("messages_accepted_total") != messages:
            raise Problem(f"mxring accepted {grown('messages_accepted_total')} messages, "
                          f"not {messages}")
        figures = {"system_calls": grown("system_calls_total") / messages,
                   "copied": sum(grown(name) for name in COPIED) / grown("message_bytes_total"),
                   "records_per_commit": grown("committed_records_total") /
                                         max(1, grown("commits_total"))}
        if "heap_allocations_total" in after:
            figures["allocations"] = grown("heap_allocations_total") / messages
        return figures

    def stop(self):
        try:
            return super().stop()
        finally:
            if self.directory is not None:
                shutil.rmtree(self.directory, ignore_errors=True)


class SmtpSink(Server):
    name = "smtp-sink"

    def start(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
        self.launch([program("smtp-sink"), *user, f"127.0.0.1:{self.port}", "1024"])
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Skip(f"smtp-sink did not start: {self.complaint()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Skip("smtp-sink does not accept connections")


def send(options, port, messages, size_kib):
    """Runs the client; its wall time. It ends with an error at the first reply that is not 2xx."""
    command = [program("taskset"), "-c", str(options.client_cpu), program("smtp-source"), "-d",
               "-s", str(min(options.sessions, messages)), "-m", str(messages),
               "-l", str(size_kib * 1024), f"127.0.0.1:{port}"]
    begin = time.monotonic()
    try:
        client = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        raise Problem("smtp-source did not finish within ten minutes") from None
    seconds = time.monotonic() - begin
    if client.returncode != 0:
        raise Problem(f"smtp-source failed: {client.stderr.strip()}")
    return seconds


def measure(options, server, messages, size_kib):
    """One run: start, warm up, measure, stop."""
    warm_up = max(options.sessions, messages // 10)
    try:
        server.start()
        send(options, server.port, warm_up, size_kib)
        before = server.counters()
        cpu = cpu_seconds(server.process.pid)
        seconds = send(options, server.port, messages, size_kib)
        cpu = cpu_seconds(server.process.pid) - cpu
        figures = server.derive(before, server.counters(), messages)
        figures.update(server.finish(warm_up + messages))
    except Problem as problem:
        raise Problem(f"{server.name}, {size_kib} KiB: {problem}") from None
    finally:
        server.stop()
    figures["cpu_us"] = cpu / messages * 1e6
    figures["rate"] = messages / seconds
    return figures


def servers(options):
    yield NullSink(options)
    yield Mxring(options, "commit")
    yield Mxring(options, "none")
    yield SmtpSink(options)


def run_rounds(options, say):
    """{size: {server name: [figures of each round]}} and {server name: why it was skipped}."""
    results = {size: collections.defaultdict(list) for size in options.sizes}
    skipped = {}
    for number in range(options.rounds):
        for size in options.sizes:
            for server in servers(options):
                if server.name in skipped:
                    continue
                say(f"round {number + 1} of {options.rounds}: {size} KiB, {server.name}")
                try:
                    figures = measure(options, server, options.messages[size], size)
                except Skip as why:
                    skipped[server.name] = str(why)
                    continue
                results[size][server.name].append(figures)
    return results, skipped


def summary(results):
    """One row per size and server: medians, extremes, ratio to the null sink."""
    rows = []
    for size, by_server in results.items():
        floor = None
        for name, rounds in by_server.items():
            cpu = [figures["cpu_us"] for figures in rounds]
            row = {"size_kib": size, "server": name, "rounds": len(rounds),
                   "cpu_us_per_message": {"median": statistics.median(cpu), "min": min(cpu),
                                          "max": max(cpu)},
                   "messages_per_second": statistics.median(f["rate"] for f in rounds)}
            if name == NullSink.name:
                floor = row["cpu_us_per_message"]["median"]
            row["ratio_to_null_sink"] = (row["cpu_us_per_message"]["median"] / floor
                                         if floor else None)
            for key in ("system_calls", "allocations", "copied", "records_per_commit"):
                values = [figures[key] for figures in rounds if key in figures]
                row[key] = statistics.median(values) if values else None
            rows.append(row)
    return rows


def print_table(rows):
    head = ("KiB", "server", "CPU us/msg", "min - max", "msg/s", "ratio", "calls/msg", "allocs/msg",
            "copied B/B", "msgs/commit")

    def number(value, digits):
        return "-" if value is None else f"{value:,.{digits}f}"

    cells = [head]
    for row in rows:
        cpu = row["cpu_us_per_message"]
        cells.append((str(row["size_kib"]), row["server"], number(cpu["median"], 1),
                      f"{cpu['min']:.1f} - {cpu['max']:.1f}", number(row["messages_per_second"], 0),
                      number(row["ratio_to_null_sink"], 2), number(row["system_calls"], 2),
                      number(row["allocations"], 3), number(row["copied"], 4),
                      number(row["records_per_commit"], 1)))
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    last_size = None
    for line in cells:
        if last_size not in (None, line[0]):
            print()
        last_size = line[0] if line is not head else None
        print("  ".join(cell.ljust(width) if i == 1 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(line, widths))).rstrip())


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return re.search(r"model name\s*: (.*)", file.read())[1]
    except (OSError, TypeError):
        return platform.machine()


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog=__doc__.split("\n\n")[1],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"),
                        help="build folder that has the programs (default: build/release)")
    parser.add_argument("--null-sink", help="path of null_sink")
    parser.add_argument("--mxring", help="path of mxring")
    parser.add_argument("--log-parent", help="folder for mxring's logs, on the disk to be measured "
                                             "(default: the build folder)")
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--sessions", type=int, default=64, help="connections, kept alive")
    parser.add_argument("--sizes", default="1,10,100", help="message sizes in KiB, of 1,10,100")
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one short round: does it all run?")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    try:
        options.sizes = [int(size) for size in options.sizes.split(",")]
    except ValueError:
        parser.error("--sizes: numbers with commas between them")
    if not set(options.sizes) <= set(MESSAGES):
        parser.error("--sizes: of 1, 10 and 100")
    options.messages = QUICK_MESSAGES if options.quick else MESSAGES
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.null_sink = options.null_sink or os.path.join(options.build, "bench", "null_sink")
    options.mxring = options.mxring or os.path.join(options.build, "mxring")
    options.log_parent = options.log_parent or options.build
    if not os.path.isdir(options.log_parent):
        parser.error(f"no such folder: {options.log_parent} (--build or --log-parent)")
    return options


def main():
    options = parse_options()
    try:
        program("smtp-source")
        program("taskset")
    except Skip as why:
        print(f"compare: {why} (Debian: apt-get install postfix util-linux)", file=sys.stderr)
        return 1
    on_terminal = sys.stderr.isatty()
    machine = {"processor": processor(), "cores": os.cpu_count(), "kernel": platform.release(),
               "load_at_start": os.getloadavg()[0]}

    def say(text):
        if on_terminal:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    try:
        results, skipped = run_rounds(options, say)
    except Problem as problem:
        say("")
        print(f"compare: {problem}", file=sys.stderr)
        return 1
    say("")
    rows = summary(results)
    if options.json:
        print(json.dumps({"machine": machine, "sessions": options.sessions,
                          "rounds": options.rounds, "messages": options.messages,
                          "results": rows, "skipped": skipped}))
        return 0
    print(f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, "
          f"load {machine['load_at_start']:.1f} at the start;\n"
          f"{options.sessions} kept-alive sessions without pipelining, interleaved rounds: "
          f"{options.rounds};\nserver on core {options.server_cpu}, client (smtp-source) on core "
          f"{options.client_cpu}; medians\n")
    print_table(rows)
    for name, why in skipped.items():
        print(f"\nskipped: {name}: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
