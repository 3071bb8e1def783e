#!/usr/bin/env python3
"""The command line itself: help that fits, mistakes that are named, and where to read on."""

import json
import os
import socket
import re
import subprocess
import threading

import mxtest

COMMANDS = ["serve", "ctl", "ctl status", "ctl reload", "ctl drain", "ctl rotate", "load", "log",
            "log cat", "log tail", "log info", "log verify", "log export",
            "dns", "dns lookup", "dns mx", "spf", "dmarc", "auth", "dkim", "dkim keygen",
            "dkim sign", "dkim verify", "report", "report build", "report send", "tune",
            "tune check", "tune sweep"]

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


class CliTest(mxtest.TestCase):
    def mxring(self, *args, code=0, **more):
        done = subprocess.run([mxtest.BINARY, *map(str, args)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, cwd=self.directory,
                              **more)
        self.assertEqual(done.returncode, code, f"{args}: {done.stderr}{done.stdout}")
        return done


class Help(CliTest):
    def test_each_command_has_its_own(self):
        top = self.mxring("--help").stdout
        self.assertIn("First steps:", top)
        for command in COMMANDS:
            text = self.mxring(*command.split(), "--help").stdout
            self.assertIn(f"Usage: mxring {command} ", text, command)
            for foreign in ("First steps:", "Excludes:", "[file]", "[address]"):
                self.assertNotIn(foreign, text, command)
            for line in text.splitlines():
                self.assertLessEqual(len(line), 100, f"{command}: {line}")
        self.assertIn("while the server writes", self.mxring("log", "--help").stdout)
        self.assertNotIn("while the server writes", self.mxring("log", "cat", "--help").stdout)

    def test_a_group_alone_names_its_commands(self):
        for group in ("ctl", "log", "dns", "dkim", "report", "tune"):
            done = self.mxring(group, code=2)
            self.assertEqual(done.stdout, "")
            self.assertIn(f"Usage: mxring {group} ", done.stderr)
            self.assertIn(f"mxring: {group}: name one of ", done.stderr)


    def test_help_and_version_are_commands_too(self):
        for words in ([], ["serve"], ["log"], ["log", "cat"], ["dkim", "keygen"]):
            self.assertEqual(self.mxring("help", *words).stdout,
                             self.mxring(*words, "--help").stdout, words)
        version = self.mxring("--version").stdout
        self.assertRegex(version, r"^mxring \d+\.\d+\.\d+ ")
        for library in ("liburing", "wolfSSL", "c-ares"):
            self.assertRegex(version, library + r" \d+\.\d+")
        with open(os.path.join(ROOT, "include/mxring/version.h")) as header:
            parts = re.findall(r"VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header.read())
        self.assertTrue(version.startswith(f"mxring {'.'.join(parts)} "), version)
        for word in ("version", "-V"):
            self.assertEqual(self.mxring(word).stdout, version)
        done = self.mxring("help", "log", "ca", code=2)
        self.assertEqual((done.stdout, done.stderr),
                         ("", "mxring: ca: not a command; did you mean cat?\n"
                              "mxring: see `mxring log --help`\n"))


class Mistakes(CliTest):
    def complaint(self, *args):
        done = self.mxring(*args, code=2)
        self.assertEqual(done.stdout, "")
        return done.stderr.splitlines()

    def test_where_to_read_on(self):
        for args, where in ((["--nonsense"], "mxring"), (["log", "cat", "--nonsense"],
                                                         "mxring log cat"),
                            (["dns", "lookup"], "mxring dns lookup")):
            self.assertEqual(self.complaint(*args)[-1], f"mxring: see `{where} --help`")

    def test_only_what_is_near_is_suggested(self):
        for args, near in ((["laod"], "load"), (["log", "vreify"], "verify"),
                           (["log", "cat", "--josn"], "--json"),
                           (["load", "127.0.0.1:1", "--conections=3"], "--connections")):
            self.assertTrue(self.complaint(*args)[0].endswith(f"; did you mean {near}?"), args)
        for args in (["tset"], ["log", "cat", "--nonsense"]):
            self.assertNotIn("did you mean", "".join(self.complaint(*args)))

    def test_the_first_wrong_word_is_named_and_only_it(self):
        for args, words in (
                (["log", "info", "--nonsense", "5m", "DIR"], "--nonsense: not a flag of this command"),
                (["log", "info", "a", "b", "--nonsense"],
                 "b: not expected: this command takes no more words"),
                (["log", "cat", "-q", "--josn"], "-q: not a flag of this command"),
                (["nosuch", "--flag"], "nosuch: not a command"),
                (["serve", "now", "--smtp"], None)):
            lines = self.complaint(*args)
            self.assertEqual(len(lines), 2, lines)
            if words:
                self.assertEqual(lines[0], "mxring: " + words)

    def test_values_are_named_with_their_flag(self):
        for args, words in (
                (["log", "cat", "--from", "abc"], "--from abc: not an offset; write a number"),
                (["log", "tail", "--from", "-"], "--from -: not an offset; write a number"),
                (["log", "cat", "--count", "x"], "--count x: not a number"),
                (["log", "cat", "--since", "soon"], "--since soon: not a time; write "),
                (["load", "--connections", "0"], "--connections 0: not in range 1 to 60000"),
                (["load", "--tls", "yes"], "--tls yes: not in {none,starttls,implicit}"),
                (["load", "foo:"], "foo:: the port is not one from 1 to 65535; write "),
                (["load", "foo:70000"], "foo:70000: the port is not one from 1 to 65535; write "),
                (["load", "f oo"], "f oo: neither an address nor a name; write "),
                (["load", "192.0.2.300"], "192.0.2.300: neither an address nor a name; write "),
                (["load", "--duration", "5"], "--duration 5: not a duration; write "),
                (["load", "--duration", "0s"], "--duration 0s: too short"),
                (["load", "--reply-timeout", "99999999h"],
                 "--reply-timeout 99999999h: too long: at most 36500d"),
                (["dns", "lookup", "a.example", "--timeout", "-5s"], "--timeout -5s: too short"),
                (["serve", "--smtp", "foo"], "--smtp foo: not an address"),
                (["serve", "--smtps", "25"], "--smtps 25: not an address; write 0.0.0.0:25 "),
                (["serve", "--admin", "x:y"], "--admin x:y: not an address"),
                (["serve", "--resolver", "nobody"], "--resolver nobody: not an address; write ")):
            self.assertTrue(self.complaint(*args)[0].startswith("mxring: " + words),
                            self.complaint(*args))


class Words(CliTest):
    def test_a_resolver_that_is_silent_is_named(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            server = "127.0.0.1:%d" % silent.getsockname()[1]
            asking = ["--resolver", server, "--timeout", "300ms"]
            done = self.mxring("dns", "lookup", "example.org", *asking, code=1)
            self.assertRegex(done.stdout, rf"^example.org A: timeout from {server} after \d.* m?s\n$")
            done = self.mxring("dns", "mx", "example.org", *asking, code=1)
            self.assertRegex(done.stdout, rf"^example.org: timeout from {server} after \d.* m?s\n$")

    def test_load_takes_names(self):
        server = self.serve()
        done = self.mxring("load", f"localhost:{server.port}", "--messages", 2, "--json")
        self.assertEqual(json.loads(done.stdout)["accepted"], 2)
        done = self.mxring("load", "no-such-host.invalid", "--messages", 1, code=1)
        self.assertRegex(done.stderr, r"^mxring: no-such-host\.invalid: no address: ")
        with Nobody() as nobody:
            done = self.mxring("load", "mx.example.org", "--resolver", nobody.address, code=1)
        self.assertEqual(done.stderr, "mxring: mx.example.org: no address: no-such-name from "
                                      f"{nobody.address}\n")

    def test_a_log_of_one_record(self):
        server = self.serve()
        with mxtest.Wire(server.address) as wire:
            wire.ask("EHLO client.example")
            wire.message(b"Subject: x\r\n\r\nx\r\n")
        self.assertRegex(self.mxring("log", "verify", server.log_dir).stdout,
                         r"^ok: 1 record in .*, offset 0\n$")
        info = self.mxring("log", "info", server.log_dir).stdout
        self.assertRegex(info, r"\n1 record in 1 segment, .*; the next offset is 1\n")
        self.assertLessEqual(max(map(len, info.splitlines())), 100)
        done = self.mxring("log", "cat", server.log_dir, "--from", 5, code=1)
        self.assertEqual(done.stdout, "")
        self.assertIn("mxring: offset 5 is beyond the end of the log, 1\n", done.stderr)
        self.assertEqual(self.mxring("log", "cat", server.log_dir, "--from", 1).stderr, "")

    def test_help_for_a_key_that_is_not_published(self):
        self.mxring("dkim", "keygen", "--domain", "example.org", "--selector", "s1")
        with open(os.path.join(self.directory, "mail.eml"), "w") as out:
            out.write("From: a@example.org\n\nx\n")
        signed = self.mxring("dkim", "sign", "--key", "s1.example.org.pem", "--domain",
                             "example.org", "--selector", "s1", "mail.eml").stdout
        with open(os.path.join(self.directory, "signed.eml"), "w") as out:
            out.write(signed)
        with Nobody() as nobody:
            done = self.mxring("dkim", "verify", "signed.eml", "--resolver", nobody.address)
        self.assertIn("nothing at s1._domainkey.example.org: publish the record that "
                      '"dkim keygen" printed\n', done.stdout)


class Nobody:
    """A name server that knows no name."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            if query == b"end":
                return
            end = query.index(b"\0", 12) + 5  # of the question
            header = query[:2] + b"\x81\x83" + b"\0\1" + bytes(6)
            self.socket.sendto(header + query[12:end], client)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        host, port = self.address.split(":")
        self.socket.sendto(b"end", (host, int(port)))
        self.thread.join()
        self.socket.close()


del CliTest


if __name__ == "__main__":
    mxtest.main()
