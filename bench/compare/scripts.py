"""Servers that are libraries for a scripting language: npm smtp-server, Haraka, aiosmtpd."""

import os
import re
import subprocess

from server import Problem, Server, Skip, free_port, program

HERE = os.path.dirname(os.path.abspath(__file__))


def node_modules(options, package):
    folder = os.path.join(options.peers_dir, "node", package, "node_modules")
    if not os.path.isdir(os.path.join(folder, package)):
        raise Skip(f"the npm package {package} is not installed (bench/peers.py)")
    return folder


class Script(Server):
    """A small program of ours around the library; prints what it has done when it ends."""

    def count_files(self):
        store = os.path.join(self.directory, "store")
        return len(os.listdir(store))

    def stored(self):
        return self.count_files() if self.work == "store" else None

    def finish(self, messages_in_all):
        stored = self.stored()
        if stored is not None and stored != messages_in_all:
            raise Problem(f"stored {stored} messages, not {messages_in_all}")
        output = self.stop()
        done = re.search(r"messages (\d+) passed (\d+)", output)
        if done is None or int(done[1]) != messages_in_all:
            raise Problem(f"counted {done and done[1]} messages, not {messages_in_all}")
        if self.work == "verify" and int(done[2]) != messages_in_all:
            raise Problem(f"only {done[2]} of {messages_in_all} passed DKIM, SPF and DMARC")
        return {}


class SmtpServer(Script):
    def start(self):
        node = program("node")
        modules = node_modules(self.options, "smtp-server")
        more = node_modules(self.options, "mailauth") if self.work == "verify" else ""
        self.make_directory()
        os.mkdir(os.path.join(self.directory, "store"))
        zone = self.options.zone.server if self.work == "verify" else ""
        # A script outside the tree of modules finds them by these folders.
        self.launch([node, os.path.join(HERE, "js", "smtp_server.js"), self.work,
                     os.path.join(self.directory, "store"), zone],
                    {"NODE_PATH": f"{modules}:{more}"})
        self.port = int(self.await_ready(r"ready (\d+)")[1])


class SmtpServerDiscard(SmtpServer):
    name = "npm smtp-server"
    work = "discard"
    comment = "one process; the stream is read and dropped"


class SmtpServerStore(SmtpServer):
    name = "npm smtp-server, file"
    work = "store"
    comment = "a file for each message, with fsync"


class SmtpServerVerify(SmtpServer):
    name = "npm smtp-server + mailauth"
    work = "verify"
    comment = "DKIM, SPF and DMARC, answers cached; not stored"


class AioSmtpd(Script):
    def start(self):
        root = os.path.join(self.options.peers_dir, "root/usr/lib/python3/dist-packages")
        environment = {"PYTHONPATH": root if os.path.isdir(root) else ""}
        python = "/usr/bin/python3"
        probe = subprocess.run([python, "-c", "import aiosmtpd"], capture_output=True, check=False,
                               env={**os.environ, **environment})
        if probe.returncode != 0:
            raise Skip("python3-aiosmtpd is not installed (bench/peers.py)")
        self.make_directory()
        os.mkdir(os.path.join(self.directory, "store"))
        self.launch([python, os.path.join(HERE, "aiosmtpd_server.py"), self.work,
                     os.path.join(self.directory, "store")], environment)
        self.port = int(self.await_ready(r"ready (\d+)")[1])


class AioSmtpdDiscard(AioSmtpd):
    name = "aiosmtpd"
    work = "discard"
    comment = "one process; the message is read and dropped"


class AioSmtpdStore(AioSmtpd):
    name = "aiosmtpd, file"
    work = "store"
    comment = "a file for each message, with fsync"


HARAKA_SMTP = """\
listen=127.0.0.1:{port}
nodes=0
daemonize=false
"""


class Haraka(Script):
    plugins = ""

    def start(self):
        node = program("node")
        modules = node_modules(self.options, "Haraka")
        self.make_directory()
        os.mkdir(os.path.join(self.directory, "store"))
        self.port = free_port()
        self.write("config/smtp.ini", HARAKA_SMTP.format(port=self.port))
        self.write("config/me", "bench.example\n")
        # Without its own defaults beside them, a section that it expects would be missing.
        with open(os.path.join(modules, "Haraka", "config", "connection.ini"),
                  encoding="utf-8") as file:
            self.write("config/connection.ini", file.read())
        self.write("config/loglevel", "ERROR\n")
        self.write("config/plugins", "bench_first\n" + self.plugins + "bench_last\n")
        self.write("config/outbound.ini", "disabled=true\n")
        self.write("config/databytes", "26214400\n")
        self.write("config/max_unrecognized_commands", "100\n")
        for name in ("bench_first", "bench_last"):
            with open(os.path.join(HERE, "js", f"haraka_{name}.js"), encoding="utf-8") as file:
                self.write(f"plugins/{name}.js", file.read())
        # It looks for plugins that are packages of their own beside the configuration.
        os.mkdir(os.path.join(self.directory, "node_modules"))
        for name in (f"haraka-plugin-{plugin}" for plugin in self.plugins.split()):
            os.symlink(os.path.join(node_modules(self.options, name), name),
                       os.path.join(self.directory, "node_modules", name))
        environment = {"BENCH_WORK": self.work,
                       "BENCH_STORE": os.path.join(self.directory, "store"),
                       "BENCH_DNS": self.options.zone.server if self.work == "verify" else "",
                       "NODE_PATH": modules}
        self.launch([node, os.path.join(modules, "Haraka", "bin", "haraka"), "-c", self.directory],
                    environment)
        self.await_port()


class HarakaDiscard(Haraka):
    name = "Haraka"
    work = "discard"
    comment = "one process; a queue plugin that drops the message"


class HarakaStore(Haraka):
    name = "Haraka, file"
    work = "store"
    comment = "a file for each message, with fsync"


class HarakaVerify(Haraka):
    name = "Haraka, DKIM + SPF"
    work = "verify"
    comment = "its plugins dkim and spf; not stored"
    plugins = "spf\ndkim\n"


SERVERS = [SmtpServerDiscard, HarakaDiscard, AioSmtpdDiscard, SmtpServerStore, AioSmtpdStore,
           HarakaStore, SmtpServerVerify, HarakaVerify]
