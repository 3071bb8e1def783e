"""The log and what is under it: full disks, file systems, rights, clocks."""

import json
import os
import pwd
import shutil
import subprocess
import time

import mxtest
from mxtest import BINARY, Log, Wire, sample_message


class Root(mxtest.TestCase):
    """Tests that need to mount, or to be somebody else."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can do this")

    def mounted(self, kind, size, make, options="loop"):
        """An image of this file system, mounted; unmounted with the test."""
        maker = self.need(make[0])
        image = os.path.join(self.directory, "image")
        place = os.path.join(self.directory, "disk")
        with open(image, "wb") as file:
            file.truncate(size)
        self.run_client([maker, *make[1:], image])
        os.mkdir(place)
        done = subprocess.run(["mount", "-t", kind, "-o", options, image, place],
                              capture_output=True, timeout=30)
        if done.returncode != 0:
            self.skipTest(f"cannot mount {kind}: {done.stderr.decode().strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=True)
        return place

    def send(self, address, count, size, start=0):
        """The replies to `count` messages on one connection, as far as it goes."""
        replies = []
        with Wire(address) as wire:
            wire.hello()
            for i in range(count):
                replies.append(wire.message(sample_message(size, f"m{start + i}")))
        return replies


class FullDisk(Root):
    def test_a_real_full_disk(self):
        place = self.mounted("ext4", 40 << 20, ["mkfs.ext4", "-q", "-m", "0"])
        server = self.serve({"log": {"segment_bytes": "8MiB"},
                             "limits": {"message_size": "1MiB", "disk_reserve_segments": 1,
                                        "disk_reserve_percent": 0}},
                            log_dir=place + "/log")
        replies = []
        while not replies or replies[-1].startswith("250"):
            replies += self.send(server.address, 1, 500_000, len(replies))
            self.assertLess(len(replies), 200, "a disk of 40 MiB holds fewer")
        self.assertEqual(replies[-1][:9], "452 4.3.1")
        accepted = len(replies) - 1
        self.assertGreater(accepted, 20)
        # The reserve is there still, which is what it is for, and what is said of it is true.
        room = os.statvfs(place)
        free = room.f_bavail * room.f_frsize
        self.assertGreater(free, 2 << 20)
        mxtest.wait_until(lambda: "reserve" in server.stderr(), 5, "a word about the reserve")
        said = [l for l in server.stderr().splitlines() if "disk_reserve_segments" in l][-1]
        self.assertRegex(said, r"(below the reserve of 8 MiB|next segment of 8 MiB would not leave "
                               r"the reserve of 8 MiB) "
                               r"\(limits.disk_reserve_segments = 1 of 8 MiB\)")
        self.assertEqual(self.send(server.address, 1, 500)[0][:9], "452 4.3.1")
        # Others use up the rest: still nothing breaks, and with room again mail goes on.
        filler = os.path.join(place, "filler")
        with open(filler, "wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
            except OSError:
                pass
        self.assertEqual(self.send(server.address, 1, 500)[0][:9], "452 4.3.1")
        os.remove(filler)
        subprocess.run(["truncate", "-s", "0", filler], check=True)
        self.assertTrue(server.alive(), server.stderr())
        self.assertEqual(server.stop(), 0, server.stderr())
        log = Log(server.log_dir)
        self.assertEqual([r["offset"] for r in log.records()], list(range(accepted)))
        code, report = log.verify()
        self.assertEqual((code, report["ok"]), (0, True))

    def test_no_inodes(self):
        place = self.mounted("ext4", 60 << 20, ["mkfs.ext4", "-q", "-m", "0", "-N", "64"])
        server = self.serve({"log": {"segment_bytes": "4MiB"},
                             "limits": {"message_size": "1MiB", "disk_reserve_segments": 0}},
                            log_dir=place + "/log")
        for i in range(200):
            try:
                open(f"{place}/inode{i}", "w").close()
            except OSError:
                break
        replies = []
        while not replies or replies[-1].startswith("250"):
            replies += self.send(server.address, 1, 500_000)
            self.assertLess(len(replies), 200)
        self.assertEqual(replies[-1][:9], "452 4.3.1")
        mxtest.wait_until(lambda: "no inodes left" in server.stderr(), 8, "the reason")
        self.assertEqual(server.stop(), 0)


class FileSystems(Root):
    def test_btrfs_is_written_in_place(self):
        place = self.mounted("btrfs", 256 << 20, ["mkfs.btrfs", "-q"])
        lsattr = self.need("lsattr")
        server = self.serve({"log": {"segment_bytes": "8MiB"},
                             "limits": {"message_size": "1MiB", "memory": "32MiB"}},
                            log_dir=place + "/log")
        self.assertTrue(all(r.startswith("250")
                            for r in self.send(server.address, 30, 600_000)), server.stderr())
        self.assertEqual(server.stop(), 0)
        names = [n for n in os.listdir(server.log_dir) if n.endswith((".seg", ".ready"))]
        self.assertGreater(len(names), 2)
        for name in names:
            flags = self.run_client([lsattr, os.path.join(server.log_dir, name)]).stdout.split()[0]
            self.assertIn(b"C", flags, name)
        self.assertEqual(len(Log(server.log_dir).records()), 30)

    def test_tmpfs_is_refused_with_the_way_out(self):
        place = os.path.join(self.directory, "memory")
        os.mkdir(place)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", place],
                              capture_output=True, timeout=20)
        if done.returncode != 0:
            self.skipTest("cannot mount tmpfs")
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=True)
        done = subprocess.run([BINARY, "serve", "--smtp", "127.0.0.1:0", "--smtps", "127.0.0.1:0",
                               "--log-dir", place + "/log"], capture_output=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"is on tmpfs", done.stderr)
        self.assertIn(b'log.sync = "none"', done.stderr)
        self.assertEqual(os.listdir(place), [])


class Rights(Root):
    """What another user is told."""

    def setUp(self):
        super().setUp()
        self.nobody = pwd.getpwnam("nobody")
        # The program and the logs where another user can get at them.
        self.place = mxtest.short_directory(self)
        os.chmod(self.place, 0o755)
        self.program = shutil.copy(BINARY, self.place)
        self.log_dir = os.path.join(self.place, "log")

    def as_nobody(self, *args, timeout=30):
        setpriv = self.need("setpriv")
        who = str(self.nobody.pw_uid), str(self.nobody.pw_gid)
        return subprocess.run([setpriv, "--reuid", who[0], "--regid", who[1], "--clear-groups",
                               self.program, *args], capture_output=True, timeout=timeout,
                              cwd=self.place)

    def serve_as_nobody(self, log_dir):
        done = self.as_nobody("serve", "--smtp", "127.0.0.1:0", "--smtps", "127.0.0.1:0",
                              "--log-dir", log_dir)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr.decode()

    def test_a_reader_without_rights_sees_an_error(self):
        server = self.serve(log_dir=self.log_dir)
        self.assertEqual(self.send(server.address, 3, 400)[-1][:3], "250")
        for running in (True, False):
            if not running:
                self.assertEqual(server.stop(), 0)
            os.chmod(self.log_dir, 0o755)  # its files stay 0640
            for command in (["cat"], ["cat", "--json"], ["info"], ["info", "--json"], ["verify"],
                            ["export", "--format", "jsonl", "--out", "-"],
                            ["tail", "--from", "0"], ["tail", "--from", "0", "--json"]):
                done = self.as_nobody("log", command[0], self.log_dir, *command[1:])
                self.assertEqual((done.returncode, done.stdout), (1, b""), command)
                self.assertRegex(done.stderr.decode(), r": Permission denied\nmxring: the log is "
                                                       r"readable for .*usermod", command)
            # The state page alone may be read: the segments may not.
            os.chmod(self.log_dir + "/state", 0o644)
            done = self.as_nobody("log", "cat", self.log_dir)
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertIn(b"Permission denied", done.stderr)
            os.chmod(self.log_dir + "/state", 0o640)

    def test_a_log_that_root_has_used_once(self):
        server = self.serve(log_dir=self.log_dir)
        self.assertEqual(server.stop(), 0)
        said = self.serve_as_nobody(self.log_dir)
        self.assertIn("root:root", said)
        self.assertIn("this process is nobody", said)
        self.assertIn(f"chown -R nobody: {self.log_dir}", said)
        # Given the folder alone, it is the files.
        os.chown(self.log_dir, self.nobody.pw_uid, self.nobody.pw_gid)
        said = self.serve_as_nobody(self.log_dir)
        self.assertRegex(said, r"LOCK cannot be opened: Permission denied: it belongs to "
                               r"root:root, mode 0644, and this process is nobody; as root: "
                               r"chown -R nobody: ")

    def test_a_parent_that_is_missing_or_not_writable(self):
        missing = os.path.join(self.place, "no", "log")
        said = self.serve_as_nobody(missing)
        self.assertIn(f"there is no directory {self.place}/no", said)
        self.assertIn(f"install -d -m 750 -o nobody {missing}", said)
        said = self.serve_as_nobody(self.log_dir)
        self.assertIn(f"{self.place} belongs to root:root, mode 0755, and this process is nobody",
                      said)
        self.assertIn(f"install -d -m 750 -o nobody {self.log_dir}", said)


class Clocks(mxtest.TestCase):
    def test_a_clock_that_jumps_ahead_deletes_nothing(self):
        library = next((p for p in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
                                    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1")
                        if os.path.exists(p)), None)
        if not library:
            self.skipTest("faketime is not installed")
        clock = os.path.join(self.directory, "clock")

        def shift(text):
            with open(clock, "w") as file:
                file.write(text + "\n")

        shift("+0")
        env = dict(os.environ, LD_PRELOAD=library, FAKETIME_TIMESTAMP_FILE=clock,
                   FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1")
        server = self.serve({"log": {"segment_bytes": "4MiB", "retain_age": "30d"},
                             "limits": {"message_size": "1MiB", "memory": "32MiB"}}, env=env)
        log = Log(server.log_dir)
        with Wire(server.address) as wire:
            wire.hello()
            for i in range(24):
                self.assertEqual(wire.message(sample_message(500_000)), f"250 2.0.0 Ok {i}")
            before = log.info()
            self.assertGreater(len(before["segments"]), 2)
            shift("+400d")
            time.sleep(2.5)
            self.assertEqual(wire.message(sample_message(500)), "250 2.0.0 Ok 24")
            shift("+0")
            time.sleep(1.2)
            self.assertEqual(wire.message(sample_message(500)), "250 2.0.0 Ok 25")
        after = log.info()
        self.assertEqual((after["first"], after["next"]), (0, 26))
        self.assertIn("the wall clock was set 400 days forward", server.stderr())
        self.assertIn("the wall clock was set 400 days back", server.stderr())
        self.assertEqual(server.stop(), 0)

    def test_what_is_removed_is_said(self):
        server = self.serve({"log": {"segment_bytes": "4MiB", "retain_bytes": "9MiB"},
                             "limits": {"message_size": "1MiB", "memory": "32MiB"}})
        with Wire(server.address) as wire:
            wire.hello()
            for i in range(40):
                self.assertEqual(wire.message(sample_message(500_000)), f"250 2.0.0 Ok {i}")
        first = Log(server.log_dir).info()["first"]
        self.assertGreater(first, 0)
        self.assertEqual(server.stop(), 0)
        said = [l for l in server.stderr().splitlines() if ": removed offsets " in l]
        self.assertTrue(said, server.stderr())
        self.assertRegex(said[0], r"removed offsets 0 to \d+ \(\d segments?, [\d.]+ MiB\), beyond "
                                  r"log.retain_bytes = 9.00 MiB")
        self.assertIn(f" to {Log(server.log_dir).info()['first'] - 1} ", said[-1])


if __name__ == "__main__":
    mxtest.main()
