"""The null sink, mxring in its ways of working, and Postfix smtp-sink, which discards."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.request

from server import Problem, Server, Skip, free_port, program

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
{engine}
[log]
dir = "{log_dir}"
sync = "{sync}"
{dns}
[auth]
spf = {auth}
dkim = {auth}
dmarc = {auth}
[limits]
messages_per_connection = 1000000000
"""


class NullSink(Server):
    name = "null sink"
    work = "discard"
    comment = "answers and forgets; the unit"

    def start(self):
        if not os.access(self.options.null_sink, os.X_OK):
            raise Skip(f"{self.options.null_sink} has not been built")
        self.launch([self.options.null_sink, "--listen", "127.0.0.1:0"])
        self.port = int(self.await_ready(r"ready 127\.0\.0\.1:(\d+)")[1])

    def finish(self, messages_in_all):
        report = re.search(r"messages (\d+) .*system_calls_per_message ([\d.]+)", self.stop())
        if report is None or int(report[1]) != messages_in_all:
            raise Problem(f"counted {report and report[1]} messages, not {messages_in_all}")
        return {"system_calls": float(report[2])}


class Mxring(Server):
    sync = "commit"
    engine = ""  # io_uring; also for a build that knows no other
    auth = False

    def start(self):
        if not os.access(self.options.mxring, os.X_OK):
            raise Skip(f"{self.options.mxring} has not been built")
        self.make_directory()
        dns = f"[dns]\nservers = [\"{self.options.zone.server}\"]" if self.auth else ""
        config = self.write("mxring.toml", MXRING_CONFIG.format(
            log_dir=os.path.join(self.directory, "log"), sync=self.sync, dns=dns, engine=self.engine,
            auth=str(self.auth).lower()))
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
            raise Problem(f"accepted {grown('messages_accepted_total')} messages, not {messages}")
        figures = {"system_calls": grown("system_calls_total") / messages,
                   "copied": sum(grown(name) for name in COPIED) / grown("message_bytes_total"),
                   "records_per_commit": grown("committed_records_total") /
                                         max(1, grown("commits_total"))}
        if "heap_allocations_total" in after:
            figures["allocations"] = grown("heap_allocations_total") / messages
        if self.auth:
            self.check_verdict()
        return figures

    def check_verdict(self):
        """The newest record must carry what the zone promises; a server that does not verify yet
        is no comparison."""
        done = subprocess.run(
            [self.options.mxring, "log", "cat", "--json", "--from", "1", "--count", "1",
             os.path.join(self.directory, "log")], capture_output=True, text=True, check=False)
        record = json.loads(done.stdout or "{}")
        signatures = record.get("dkim") or []
        spf = record.get("spf") or {}
        result = spf.get("result") if isinstance(spf, dict) else spf
        dmarc = record.get("dmarc") or {}
        verdict = dmarc.get("result") if isinstance(dmarc, dict) else dmarc
        if not any("pass" in json.dumps(signature) for signature in signatures):
            raise Skip(f"does not verify DKIM in this version: dkim {signatures}")
        if verdict != "pass":
            raise Skip(f"does not evaluate DMARC in this version: spf {result}, dmarc {verdict}")


class MxringCommit(Mxring):
    name = "mxring, sync commit"
    work = "store"
    comment = "group commit, fdatasync before 250"


class MxringEpoll(MxringCommit):
    name = "mxring, epoll"
    comment = "the same where io_uring is forbidden"
    engine = 'engine = "epoll"'


class MxringNone(Mxring):
    name = "mxring, sync none"
    work = "discard"
    comment = "writes the log, waits for no disk"
    sync = "none"


class MxringVerify(Mxring):
    name = "mxring, verifying"
    work = "verify"
    comment = "DKIM, SPF and DMARC evaluated, and stored durably"
    auth = True


class SmtpSink(Server):
    name = "smtp-sink"
    work = "discard"
    comment = "Postfix's test server"

    def start(self):
        self.port = free_port()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
        self.launch([program("smtp-sink"), *user, f"127.0.0.1:{self.port}", "1024"])
        self.await_port()


SERVERS = [NullSink, MxringCommit, MxringEpoll, MxringNone, SmtpSink, MxringVerify]
