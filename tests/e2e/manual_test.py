"""Manual pages and completion have every command, option and key that --help and --help-config
show, and work."""

import os
import re
import subprocess

import mxtest
from mxtest import BINARY


def run(*args):
    return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=60, check=True,
                          env=dict(os.environ, COLUMNS="200")).stdout


def commands(path=()):
    """{words: options} of every command, from its --help."""
    if path == ("help",):  # its --help is that of the whole
        return {path: {"-h", "--help"}}
    text = run(*path, "--help")
    found = {path: set(re.findall(r"^  (?:-\w,)?(--[a-z-]+|-\w(?= |$))", text, re.M)) |
             set(re.findall(r"^  (-\w),--", text, re.M))}
    below = re.split(r"^(?:Subcommands|SUBCOMMANDS):\n", text, flags=re.M)
    if len(below) == 2:
        for name in re.findall(r"^  ([a-z][a-z-]*)", below[1].split("\n\n")[0], re.M):
            found.update(commands((*path, name)))
    return found


def plain(roff):
    return roff.replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")


class Complete(mxtest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.commands = commands()

    def setUp(self):
        super().setUp()
        # Not by luck: this many are known by name here.
        for path, option in ((("serve",), "--smtp"), (("log", "cat"), "--raw"), ((), "--version"),
                             (("groups", "reset"), "--execute"), (("manual",), "--out")):
            self.assertIn(option, self.commands[path])
        self.assertGreater(len(self.commands), 40)

    def test_pages(self):
        folder = os.path.join(self.directory, "man")
        run("manual", "pages", "--out", folder)
        wanted = {"-".join(("mxring", *path)) + ".1" for path in self.commands} | {"mxring.toml.5"}
        self.assertEqual(set(os.listdir(folder)), wanted)
        for path, options in self.commands.items():
            with open(os.path.join(folder, "-".join(("mxring", *path)) + ".1")) as file:
                text = plain(file.read())
            for option in options:
                self.assertIn(f"\\fB{option}\\fR", text, path)
            for other in self.commands:
                if other[:-1] == path and other:
                    self.assertIn(f"\\fB{other[-1]}\\fR", text)
        with open(os.path.join(folder, "mxring.toml.5")) as file:
            text = plain(file.read())
        keys = 0
        for line in run("serve", "--help-config").splitlines():
            if line and not line.startswith("#"):
                keys += " = " in line
                self.assertIn(line, text)
        self.assertGreater(keys, 80)
        man = self.need("man")
        for name in sorted(wanted):
            done = subprocess.run([man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z",
                                   os.path.join(folder, name)], capture_output=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, b""), name)

    def test_shells_have_all_of_it(self):
        bash, zsh, fish = (run("manual", shell) for shell in ("bash", "zsh", "fish"))
        for path, options in self.commands.items():
            place = " ".join(path)
            words = re.search(r'^    "%s"\) words="(.*)" ;;$' % place, bash, re.M)[1].split()
            below = {other[-1] for other in self.commands if other and other[:-1] == path}
            self.assertEqual(set(words), options | below, path)
            block = zsh[zsh.index(f'  "{place}") found=('):]
            block = block[:block.index("\n  ) ;;")]
            self.assertEqual(set(re.findall(r"^    '([^:]+):", block, re.M)), options | below)
            lines = [line for line in fish.splitlines()
                     if line.startswith(f"complete -c mxring -n '__mxring_at {place}' ")]
            names = {"--" + n for line in lines for n in re.findall(r" -l ([a-z-]+)", line)}
            names |= {"-" + n for line in lines for n in re.findall(r" -s (\w)", line)}
            names |= {n for line in lines for n in re.findall(r" -f -a ([a-z-]+)", line)}
            self.assertEqual(names, options | below, path)

    def test_bash_completes(self):
        script = os.path.join(self.directory, "mxring.bash")
        run("manual", "bash", "--out", script)
        for line, wanted in (("mxring lo", {"load", "log"}), ("mxring log ca", {"cat"}),
                             ("mxring log tail mxring-log --gr", {"--group"}),
                             ("mxring log cat --fro", {"--from"})):
            words = line.split()
            done = subprocess.run(
                [self.need("bash"), "-c", f". {script}; COMP_WORDS=({line}); "
                 f"COMP_CWORD={len(words) - 1}; _mxring; echo ${{COMPREPLY[@]}}"],
                capture_output=True, text=True, timeout=20, check=True)
            self.assertEqual(set(done.stdout.split()), wanted, line)
        for shell, syntax in (("zsh", ["-n"]), ("fish", ["--no-execute"])):
            if mxtest.shutil.which(shell) is None:
                print(f"skipped: no {shell}: its completion is not parsed")
                continue
            path = os.path.join(self.directory, shell)
            run("manual", shell, "--out", path)
            self.run_client([shell, *syntax, path])

    def test_mistakes(self):
        for args in (("manual",), ("manual", "pages"), ("manual", "csh")):
            done = subprocess.run([BINARY, *args], capture_output=True, timeout=20)
            self.assertEqual((done.returncode, done.stdout), (2, b""), args)
        done = subprocess.run([BINARY, "manual", "bash", "--out", "/nonexistent/x"],
                              capture_output=True, timeout=20)
        self.assertEqual(done.returncode, 1)


class Relay(mxtest.TestCase):
    """mxring-relay's own pages and completion."""

    RELAY = os.path.join(os.path.dirname(BINARY), "mxring-relay")

    def setUp(self):
        super().setUp()
        if not os.path.exists(self.RELAY):
            self.skipTest("mxring-relay is not built")
        text = self.relay("--help")
        self.options = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text, re.M))
        self.letters = set(re.findall(r"^  (-\w), --", text, re.M))
        self.assertLessEqual({"--config", "--admin", "--help-config", "--manual"}, self.options)
        self.assertEqual(self.letters, {"-c", "-t", "-h"})

    def relay(self, *args):
        return subprocess.run([self.RELAY, *args], capture_output=True, text=True, timeout=30,
                              check=True).stdout

    def test_pages(self):
        page, config = plain(self.relay("--manual", "page")), self.relay("--manual=config")
        for option in self.options | self.letters:
            self.assertIn(f"\\fB{option}\\fR", page)
        keys = 0
        for line in self.relay("--help-config").splitlines():
            if line and not line.startswith("#"):
                keys += " = " in line
                self.assertIn(line, plain(config))
        self.assertGreater(keys, 35)
        man = self.need("man")
        for name, text in (("mxring-relay.1", self.relay("--manual", "page")),
                           ("mxring-relay.toml.5", config)):
            path = os.path.join(self.directory, name)
            with open(path, "w") as out:
                out.write(text)
            done = subprocess.run([man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path],
                                  capture_output=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, b""), name)

    def test_shells(self):
        known = self.options | self.letters
        bash = self.relay("--manual", "bash")
        self.assertEqual(set(re.search(r'words="(.*?)"', bash)[1].split()), known)
        self.assertEqual(set(re.findall(r"^  '(--?[a-z-]+)\[", self.relay("--manual", "zsh"), re.M)),
                         known)
        fish = self.relay("--manual", "fish")
        self.assertEqual({"--" + n for n in re.findall(r" -l ([a-z-]+)", fish)} |
                         {"-" + n for n in re.findall(r" -s (\w)", fish)}, known)
        script = os.path.join(self.directory, "relay.bash")
        with open(script, "w") as out:
            out.write(bash)
        done = subprocess.run([self.need("bash"), "-c", f". {script}; COMP_WORDS=(mxring-relay --he);"
                               " COMP_CWORD=1; _mxring_relay; echo ${COMPREPLY[@]}"],
                              capture_output=True, text=True, timeout=20, check=True)
        self.assertEqual(set(done.stdout.split()), {"--help", "--help-config"})

    def test_mistakes(self):
        for args in (("--manual", "csh"), ("--manual",), ("--manul", "page")):
            done = subprocess.run([self.RELAY, *args], capture_output=True, timeout=20)
            self.assertEqual((done.returncode, done.stdout), (2, b""), args)


if __name__ == "__main__":
    mxtest.main()
