"""A server started as root: whom it becomes, what it may still do, and that it works all the same."""

import ctypes
import ctypes.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile

import mxtest
from mxtest import Wire, sample_message

USER = "nobody"


def statuses(pid):
    """The fields of /proc/PID/status of every thread."""
    all_of_them = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status") as text:
            all_of_them.append(dict(line.rstrip("\n").split(":\t", 1) for line in text
                                    if ":\t" in line))
    return all_of_them


class Root(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can become somebody else")
        self.account = pwd.getpwnam(USER)
        # Folders that the user can walk through, which the scratch directory of a build need not be.
        self.directory = tempfile.mkdtemp(prefix="mxring-privilege-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        os.chmod(self.directory, 0o755)

    def start(self, **sections):
        config = {"": {"user": USER}, "listen": {"smtp": ["127.0.0.1:0"],
                                                 "admin": f"unix:{self.directory}/admin"}}
        for section, keys in sections.items():
            config.setdefault(section, {}).update(keys)
        return self.serve(config)

    def deliver(self, server, offset):
        with Wire(server.address) as wire:
            wire.hello()
            self.assertEqual(wire.message(sample_message()), f"250 2.0.0 Ok {offset}")

    def test_nothing_of_root_is_left(self):
        server = self.start()
        self.deliver(server, 0)
        sanitized = "built with a sanitizer" in server.stderr()
        threads = statuses(server.pid)
        self.assertGreater(len(threads), 3)
        for status in threads:
            name = status["Name"]
            self.assertEqual(set(status["Uid"].split()), {str(self.account.pw_uid)}, name)
            self.assertEqual(set(status["Gid"].split()), {str(self.account.pw_gid)}, name)
            groups = set(map(str, os.getgrouplist(USER, self.account.pw_gid)))
            self.assertEqual(set(status["Groups"].split()), groups, name)
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                self.assertEqual(int(status[kind], 16), 0, f"{name} {kind}")
            self.assertEqual(status["NoNewPrivs"], "1", name)
            if not sanitized:
                self.assertEqual(status["Seccomp"], "2", name)
        self.assertEqual(server.stop(), 0)

    def test_what_it_makes_belongs_to_the_user(self):
        server = self.start()
        self.deliver(server, 0)
        for path in (server.log_dir, f"{self.directory}/admin",
                     *(os.path.join(server.log_dir, name) for name in os.listdir(server.log_dir))):
            self.assertEqual(os.stat(path).st_uid, self.account.pw_uid, path)
        self.assertEqual(server.stop(), 0)
        server.start()
        self.deliver(server, 1)
        self.assertEqual(server.stop(), 0)

    def test_renewed_certificates_are_read_by_the_user(self):
        openssl = self.need("openssl")
        tls = os.path.join(self.directory, "tls")
        os.mkdir(tls)

        def certificate(name):
            self.run_client([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt",
                             "ec_paramgen_curve:P-256", "-nodes", "-days", "90", "-subj",
                             f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
                             "-keyout", f"{tls}/key.new", "-out", f"{tls}/cert.new"])
            for kind in ("key", "cert"):
                os.chown(f"{tls}/{kind}.new", -1, self.account.pw_gid)
                os.chmod(f"{tls}/{kind}.new", 0o640)
                os.rename(f"{tls}/{kind}.new", f"{tls}/{kind}.pem")

        certificate("mx.test")
        server = self.start(tls={"certificate": f"{tls}/cert.pem", "key": f"{tls}/key.pem"})
        certificate("mx.test")
        server.process.send_signal(signal.SIGHUP)
        mxtest.wait_until(lambda: "certificates loaded again" in server.stderr(), 10, "the reload")
        os.chmod(f"{tls}/key.pem", 0o600)
        server.process.send_signal(signal.SIGHUP)
        mxtest.wait_until(lambda: "the old ones stay in use" in server.stderr(), 10, "the refusal")
        self.deliver(server, 0)
        self.assertEqual(server.stop(), 0)
        # What could not be read again is told beforehand.
        done = subprocess.run([*server.command(), "-t"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertRegex(done.stderr, rf"{tls}/key\.pem \(tls\.key\): user \"{USER}\" may not read")

    def test_a_log_of_root_is_refused(self):
        os.mkdir(os.path.join(self.directory, "log"))
        with self.assertRaisesRegex(AssertionError, f'user "{USER}" may not write there; chown -R'):
            self.start()

    def test_an_account_that_is_not_there(self):
        server = mxtest.Server(self.directory, {"": {"user": "no-such-account"}}, start=False)
        done = subprocess.run(server.command(), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=20)
        self.assertEqual(done.returncode, 78)
        self.assertIn('user = "no-such-account": there is no such account', done.stderr)

    def test_staying_root_is_said_once(self):
        server = self.serve({"": {"user": ""}})
        self.deliver(server, 0)
        self.assertEqual(len(re.findall("running as root: set `user`", server.stderr())), 1)
        for status in statuses(server.pid):
            self.assertEqual(status["NoNewPrivs"], "1", status["Name"])
        self.assertEqual(server.stop(), 0)

    def test_it_can_be_turned_off(self):
        server = self.serve({"": {"confine": False}})
        self.assertIn("confine = false: neither Landlock nor seccomp", server.stderr())
        self.assertEqual({s["Seccomp"] for s in statuses(server.pid)},
                         {statuses(os.getpid())[0]["Seccomp"]})
        self.assertEqual(server.stop(), 0)


UNIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tuning",
                    "mxring.service")


class Unit(mxtest.TestCase):
    """The systemd unit: how much it leaves open, and that the server can live with it."""

    def setUp(self):
        super().setUp()
        self.analyze = self.need("systemd-analyze")

    def allowed_calls(self):
        """The system calls that the unit's SystemCallFilter= lines leave, in their order."""
        groups = {}
        listed = self.run_client([self.analyze, "syscall-filter", "--no-pager"]).stdout.decode()
        for line in listed.splitlines():
            word = line.strip()
            if line.startswith("@"):
                group = groups.setdefault(word, [])
            elif word and not word.startswith("#"):
                group.append(word)

        def expanded(name):
            if name not in groups:
                return {name}
            return set().union(*map(expanded, groups[name]))

        calls = set()
        with open(UNIT) as unit:
            for line in unit:
                if line.startswith("SystemCallFilter="):
                    words = line.strip().split("=", 1)[1]
                    named = set().union(*map(expanded, words.lstrip("~").split()))
                    calls = calls - named if words.startswith("~") else calls | named
        return calls

    def test_it_runs_under_the_filter(self):
        """As systemd would install it, by libseccomp, before the server is executed."""
        name = ctypes.util.find_library("seccomp")
        if not name:
            self.skipTest("libseccomp is not installed")
        library = ctypes.CDLL(name)
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int,
                                             ctypes.c_uint]
        library.seccomp_load.argtypes = [ctypes.c_void_p]
        calls = self.allowed_calls()
        self.assertIn("sched_setaffinity", calls)
        self.assertNotIn("mount", calls)

        def install():
            policy = library.seccomp_init(0x00050000 | 1)  # others: EPERM
            for call in calls:
                number = library.seccomp_syscall_resolve_name(call.encode())
                if number >= 0 and library.seccomp_rule_add(policy, 0x7FFF0000, number, 0) != 0:
                    os._exit(97)
            if library.seccomp_load(policy) != 0:
                os._exit(98)

        server = self.serve(preexec=install)
        with Wire(server.address) as wire:
            wire.hello()
            self.assertEqual(wire.message(sample_message()), "250 2.0.0 Ok 0")
        for status in statuses(server.pid):
            self.assertEqual(int(status["Seccomp_filters"]),
                             1 if "built with a sanitizer" in server.stderr() else 2)
            if re.fullmatch(r"mxring-\d+", status["Name"]):
                self.assertRegex(status["Cpus_allowed_list"], r"^\d+$")  # pinned
        self.assertNotIn("not confined", server.stderr())
        self.assertEqual(server.stop(), 0)

    def test_exposure(self):
        self.assertLessEqual(self.exposure(UNIT), 1.5)

    def test_exposure_with_sockets_from_systemd(self):
        """No capability, users of its own; it may still pin its threads."""
        with open(UNIT) as unit, open(os.path.join(UNIT + ".d", "40-sockets.conf.off")) as more:
            text = unit.read() + more.read()
        path = os.path.join(self.directory, "mxring.service")
        with open(path, "w") as out:
            out.write(text)
        self.assertIn("SystemCallFilter=sched_setaffinity\n", text)
        self.assertLessEqual(self.exposure(path), 1.2)

    def exposure(self, unit):
        done = subprocess.run([self.analyze, "security", "--offline=true", "--no-pager", unit],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("Unknown", done.stderr)
        score = re.search(r"Overall exposure level for mxring\.service: ([0-9.]+)", done.stdout)
        self.assertTrue(score, done.stdout)
        print(f"exposure {score[1]}")
        return float(score[1])


if __name__ == "__main__":
    mxtest.main()
