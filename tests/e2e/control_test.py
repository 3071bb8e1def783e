#!/usr/bin/env python3
"""The running server: `mxring ctl`, reloads under load, and what systemd is told."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import time

import handed_over
import mxtest
from mxtest import BINARY, Log, Wire, sample_message


class ControlCase(mxtest.TestCase):
    def start(self, config=None, **more):
        # Hundreds of refusals at once would leave no room for the notices that are looked for.
        self.server = self.serve({"journal": {"to": ""}, **(config or {})}, **more)
        self.file = os.path.join(self.directory, "mxring.toml")
        self.socket = os.path.join(self.server.log_dir, "control")
        return self.server

    def ctl(self, *args, code=0, where=None):
        done = subprocess.run([BINARY, "ctl", *args, "--socket", where or self.socket],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, f"{args}: {done.stdout}{done.stderr}")
        return done

    def write(self, **limits):
        """The file as it was, with other limits."""
        config = {section: dict(keys) for section, keys in self.server.config.items()}
        config["limits"].update(limits)
        with open(self.file, "w") as out:
            out.write(mxtest.toml(config))

    def recipients_taken(self, wire, most=400):
        wire.ask("MAIL FROM:<a@client.test>")
        wire.send("".join(f"RCPT TO:<r{i}@mx.test>\r\n" for i in range(most)))
        taken = sum(wire.reply().startswith("250") for _ in range(most))
        self.assertRegex(wire.ask("RSET"), "^250")
        return taken


class Reload(ControlCase):
    def test_the_next_connection_goes_by_the_new_rules(self):
        self.start({"limits": {"recipients": 100}})
        with Wire(self.server.address) as old:
            old.hello()
            self.assertEqual(self.recipients_taken(old), 100)
            self.write(recipients=200, messages_per_connection=1)
            done = self.ctl("reload")
            self.assertEqual(
                done.stdout, "configuration read again, certificates loaded again; changed for the "
                             "next connection: limits.recipients, limits.messages_per_connection\n")
            with Wire(self.server.address) as new:
                new.hello()
                self.assertEqual(self.recipients_taken(new), 200)
                self.assertRegex(new.message(sample_message()), "^250")
                self.assertRegex(new.ask("MAIL FROM:<a@client.test>"), r"^421 4\.7\.0")
            # Who came before goes on as he began.
            self.assertEqual(self.recipients_taken(old), 100)
            for _ in range(2):
                self.assertRegex(old.message(sample_message()), "^250")
        mxtest.wait_until(lambda: "mxring: " + done.stdout in self.server.stderr(), 20, "the notice")

    def test_what_cannot_change_is_named(self):
        self.start()
        config = {section: dict(keys) for section, keys in self.server.config.items()}
        config["limits"].update({"memory": "128MiB", "recipients": 300})
        config["log"]["segment_bytes"] = "64MiB"
        config[""]["hostname"] = "other.test"
        with open(self.file, "w") as out:
            out.write(mxtest.toml(config))
        done = self.ctl("reload", "--json")
        said = json.loads(done.stdout)
        self.assertIs(said["ok"], True)
        self.assertTrue(said["done"].endswith(
            "; changed for the next connection: limits.recipients; as before until a restart: "
            "hostname, log.segment_bytes, limits.memory"), said)
        with Wire(self.server.address) as wire:
            self.assertRegex(wire.banner, "^220 mx.test ")

    def test_a_file_that_does_not_check_changes_nothing(self):
        self.start({"limits": {"recipients": 100}})
        with open(self.file) as text:
            good = text.read()
        broken = [("recipients = 100", "recipients = 99", r":\d+:14: limits.recipients must be"),
                  ("recipients = 100", "recipients = 200\nrecipient = 5", 'unknown key "recipient"'),
                  ("[limits]", "[limits", r":\d+:"),
                  ("[limits]", "[limit]", 'unknown key "limit"'),
                  ("recipients = 100", "recipients = 200\nerrors_soft = 90",
                   r":\d+:1: limits.errors_soft must not exceed errors_hard"),
                  ("recipients = 100", "recipients = 200\ncommand_wait = \"5 parsecs\"",
                   r":\d+:16: limits.command_wait must be a duration"),
                  ("[log]", "[tls]\ncertificate = \"/nowhere.pem\"\nkey = \"/nowhere.key\"\n[log]",
                   r"/nowhere.pem cannot be read"),
                  ("[log]", "[tls]\ncertificate = \"/nowhere.pem\"\n[log]",
                   r":\d+:1: tls.certificate and tls.key belong together"),
                  ("smtp = [", "smtp = [\"nowhere\", ", r':\d+:9: listen.smtp: "nowhere": not an'),
                  # Fine in itself, but not with a limit that only a restart changes.
                  ("recipients = 100", "recipients = 200\nheader_fields = 2000\n"
                   "received_fields = 1500", "with what cannot change while running")]
        for old, new, said in broken:
            self.assertIn(old, good)
            with open(self.file, "w") as out:
                out.write(good.replace(old, new, 1))
            done = self.ctl("reload", code=1)
            self.assertEqual(done.stdout, "")
            self.assertRegex(done.stderr, said)
            self.assertTrue(json.loads(self.ctl("reload", "--json", code=1).stdout)["error"])
        os.remove(self.file)
        self.assertRegex(self.ctl("reload", code=1).stderr, "cannot be read: No such file")
        with Wire(self.server.address) as wire:
            wire.hello()
            self.assertEqual(self.recipients_taken(wire), 100)
        mxtest.wait_until(lambda: "warning: reload: nothing changed: " in self.server.stderr(), 20,
                          "the notice")
        with open(self.file, "w") as out:
            out.write(good)
        self.assertEqual(self.ctl("reload").stdout,
                         "configuration read again, certificates loaded again\n")
        self.assertEqual(self.server.stop(), 0)

    def test_reloads_under_load(self):
        server = self.start({"limits": {"recipients": 100}})
        rounds = 25
        load = subprocess.Popen(
            [BINARY, "load", "127.0.0.1:%d" % server.port, "--connections", "8", "--duration",
             "60s", "--messages-per-connection", "7", "--rate", "300/s", "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(load.kill)
        begun = time.monotonic()
        for i in range(rounds):
            recipients = 101 + i
            self.write(recipients=recipients)
            if i % 2:
                self.ctl("reload")
            else:
                lines = server.stderr().count("configuration read again")
                os.kill(server.pid, signal.SIGHUP)
                mxtest.wait_until(
                    lambda: server.stderr().count("configuration read again") > lines, 20, "reload")
            with Wire(server.address) as wire:
                wire.hello()
                self.assertEqual(self.recipients_taken(wire, most=130), recipients)
        # A fast machine has reloaded 25 times before there was much of a load.
        time.sleep(max(0, 2 - (time.monotonic() - begun)))
        load.send_signal(signal.SIGINT)
        out, complaints = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 0, complaints)
        results = json.loads(out)
        # What was read is given back: rules, certificates, files.
        for count in (20, 60):
            memory = server.memory_bytes()
            for _ in range(count):
                self.ctl("reload")
        grown = server.memory_bytes() - memory
        print(f"{rounds} reloads, {results['accepted']} messages over {results['connections']} "
              f"connections; {grown / 1024:.0f} KiB more memory after 60 more")
        self.assertEqual((results["errors"], results["not_accepted"], results["rejected"]),
                         (0, 0, []))
        self.assertGreater(results["accepted"], 100)
        self.assertLess(grown, 3 << 20)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(len(Log(server.log_dir).records()), results["accepted"])


class Socket(ControlCase):
    def test_status_and_its_owner(self):
        self.start()
        with Wire(self.server.address) as wire:
            wire.hello()
            wire.message(sample_message())
        status = json.loads(self.ctl("status").stdout)
        self.assertEqual((status["next_offset"], status["accepting"]), (1, True))
        self.assertEqual(json.loads(self.ctl("status", "--json").stdout)["next_offset"], 1)
        mode = os.stat(self.socket).st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        self.assertEqual(len(Log(self.server.log_dir).records()), 1)  # no trouble to readers

    def test_found_by_the_configuration(self):
        path = os.path.join(mxtest.short_directory(self), "ctl")
        self.start({"listen": {"control": path, "smtp": ["127.0.0.1:0"]}})
        self.assertFalse(os.path.exists(self.socket))
        for args in (["-c", self.file], ["--socket", path]):
            done = subprocess.run([BINARY, "ctl", "status", *args], capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["next_offset"], 0)
        self.assertEqual(self.server.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_names_longer_than_an_address(self):
        self.start(log_dir=os.path.join(self.directory, "l" * 100))
        self.assertGreater(len(self.socket), 108)
        self.assertEqual(json.loads(self.ctl("status").stdout)["next_offset"], 0)

    def test_a_folder_that_is_not_there(self):
        done = subprocess.run(
            [BINARY, "serve", "--smtp", "127.0.0.1:0", "--log-dir", self.directory + "/log", "-c",
             self.configuration('[listen]\ncontrol = "/nowhere/control"\n')],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"/nowhere/control: No such file or directory "
                                      r"\(listen.control\)\n$")

    def configuration(self, text):
        path = os.path.join(self.directory, "c.toml")
        with open(path, "w") as out:
            out.write(text)
        return path

    def test_garbage_is_harmless(self):
        self.start()
        for data in (b"", b"\0" * 100, b"reload\n", b"POST\r\n\r\n", b"POST /nothing HTTP/1.0\r\n\r\n",
                     b"GET /reload HTTP/1.0\r\n\r\n", b"x" * 100_000, b"\r\n\r\n",
                     os.urandom(5000), b"POST /drain HTTP/1.0\r\nX: y"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                folder = os.open(os.path.dirname(self.socket), os.O_PATH)
                client.connect(f"/proc/self/fd/{folder}/control")
                os.close(folder)
                try:
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    answer = client.recv(65536)
                except (BrokenPipeError, ConnectionResetError):
                    continue
                self.assertNotRegex(answer, rb"^HTTP/1.[01] 200", data)
        self.assertEqual(json.loads(self.ctl("status").stdout)["accepting"], True)
        self.assertNotIn("configuration read again", self.server.stderr())

    def test_drain(self):
        self.start()
        with Wire(self.server.address) as idle:
            idle.hello()
            self.assertEqual(self.ctl("drain").stdout,
                             "draining: transactions in progress may finish\n")
            self.assertRegex(idle.reply(), r"^421 4\.3\.2")
        self.assertEqual(self.server.wait(timeout=30), 0)
        self.assertFalse(os.path.exists(self.socket))
        self.assertRegex(self.ctl("status", code=1).stderr,
                         "^mxring: .*/control: No such file or directory; no receiver runs with it")

    def test_without_a_file_rotate_says_so(self):
        self.start()
        self.assertIn("journal.to names no file", self.ctl("rotate", code=1).stderr)

    def test_rotate(self):
        folder = mxtest.short_directory(self)
        path = os.path.join(folder, "journal")
        self.start({"journal": {"to": path}})
        self.refuse_one()
        mxtest.wait_until(lambda: os.path.getsize(path), 10, "a line")
        os.rename(path, path + ".1")
        self.assertEqual(self.ctl("rotate").stdout, "the journal's file is opened again\n")
        self.refuse_one()
        mxtest.wait_until(lambda: os.path.exists(path) and os.path.getsize(path), 10, "a new file")

    def refuse_one(self):
        with Wire(self.server.address) as wire:
            wire.hello()
            self.assertRegex(wire.ask("MAIL FROM:<a@client.test> SIZE=99999999"), "^552")


class HandedOver(handed_over.Sockets, ControlCase):
    """Sockets that outlive the process, as systemd hands them over."""

    def test_they_take_the_place_of_the_configuration(self):
        smtp, smtps, admin = (self.listening() for _ in range(3))
        server = self.hand_over([smtp, smtps, admin], "smtp:smtps:admin",
                                {"listen": {"smtp": ["127.0.0.1:1"], "admin": "127.0.0.1:2"}})
        self.servers.append(server)
        server.start()
        address = "%s:%d" % smtp.getsockname()
        self.assertEqual(server.ready["smtp"], address)
        self.assertEqual(server.ready["smtps"], "%s:%d" % smtps.getsockname())
        self.assertEqual(json.loads(server.http("/status"))["listeners"]["smtp"], [address])
        self.assertIn(f"listen.smtp: listening on {address} as handed over, not on 127.0.0.1:1\n",
                      server.stderr())
        with Wire(server.address) as wire:
            wire.hello()
            self.assertRegex(wire.message(sample_message()), "^250")
        with mxtest.unverified().wrap_socket(
                socket.create_connection(smtps.getsockname(), 20)) as tls:
            self.assertRegex(tls.recv(100), b"^220 ")
        self.assertEqual(server.stop(), 0)

    def test_a_name_that_says_nothing(self):
        server = self.hand_over([self.listening()], "http")
        with self.assertRaisesRegex(AssertionError, 'was handed over as "http"; '
                                                    "FileDescriptorName="):
            server.start()
        self.assertEqual(server.process.returncode is not None, True)


class Notify(ControlCase):
    def states(self, name):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        manager.settimeout(20)
        return manager

    def test_ready_reload_and_stop(self):
        folder = mxtest.short_directory(self)
        for name in (os.path.join(folder, "notify"), f"@mxring-test-{os.getpid()}"):
            manager = self.states(name)
            server = self.start(env={**os.environ, "NOTIFY_SOCKET": name})
            self.assertEqual(manager.recv(4096), b"READY=1")
            with Wire(server.address) as wire:
                self.assertRegex(wire.banner, "^220")
            self.ctl("reload")
            self.assertRegex(manager.recv(4096), rb"^RELOADING=1\nMONOTONIC_USEC=\d+$")
            self.assertEqual(manager.recv(4096), b"READY=1")
            self.assertEqual(server.stop(), 0)
            self.assertEqual(manager.recv(4096), b"STOPPING=1")

    def test_nobody_is_told_before_it_listens(self):
        name = os.path.join(mxtest.short_directory(self), "notify")
        manager = self.states(name)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            done = subprocess.run(
                [BINARY, "serve", "--smtp", "127.0.0.1:%d" % taken.getsockname()[1], "--log-dir",
                 self.directory + "/log"], stdin=subprocess.DEVNULL, capture_output=True,
                timeout=60, env={**os.environ, "NOTIFY_SOCKET": name})
        self.assertEqual(done.returncode, 1)
        manager.settimeout(0.5)
        with self.assertRaises(TimeoutError):
            manager.recv(4096)

    def test_the_unit_says_so(self):
        with open(os.path.join(mxtest.SOURCE, "tuning", "mxring.service")) as text:
            unit = text.read()
        for line in ("Type=notify", "RestartPreventExitStatus=78", "Restart=on-failure"):
            self.assertRegex(unit, rf"(?m)^{re.escape(line)}$")


del ControlCase


if __name__ == "__main__":
    mxtest.main()
