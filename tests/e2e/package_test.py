"""The Debian packages: what is in them, whether lintian accepts them, and, with MXRING_DEBIAN_ROOT (a
tar that mmdebstrap made), installed, started, mail received, upgraded and purged in that root."""

import glob
import json
import os
import subprocess
import time

import mxtest
from mxtest import BINARY, Wire, sample_message

BUILD = os.path.dirname(BINARY)


class Packages(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        self.dpkg = self.need("dpkg-deb")
        for path in ("manual/stamp", "src/seglog/libmxring_consumer.a", "CPackConfig.cmake"):
            if not os.path.exists(os.path.join(BUILD, path)):
                self.skipTest(f"{path} has not been built")
        self.folder = self.directory + "/packages"
        self.made = {}
        self.build()

    def build(self, *more):
        self.run_client(["cpack", "-G", "DEB", "-B", self.folder, *more], cwd=BUILD, timeout=170)
        for path in glob.glob(self.folder + "/*.deb"):
            self.made[os.path.basename(path).split("_")[0]] = path

    def contents(self, package):
        done = self.run_client([self.dpkg, "-c", self.made[package]])
        return {line.split(None, 5)[5]: line.split()[:2]
                for line in done.stdout.decode().splitlines()}

    def test_contents(self):
        self.assertLessEqual({"mxring", "libmxring-dev", "python3-mxringlog"}, set(self.made))
        files = self.contents("mxring")
        for path in ("usr/bin/mxring", "etc/mxring/mxring.toml",
                     "usr/lib/systemd/system/mxring.service", "usr/share/man/man1/mxring.1.gz",
                     "usr/share/man/man1/mxring-log-cat.1.gz", "usr/share/man/man5/mxring.toml.5.gz",
                     "usr/share/bash-completion/completions/mxring",
                     "usr/share/zsh/vendor-completions/_mxring",
                     "usr/share/fish/vendor_completions.d/mxring.fish",
                     "usr/share/doc/mxring/copyright"):
            self.assertIn("./" + path, files)
        self.assertTrue(all(owner == "root/root" for _, owner in files.values()))
        self.assertIn("./usr/include/mxring/consumer.h", self.contents("libmxring-dev"))
        self.assertIn("./usr/lib/python3/dist-packages/mxringlog/_log.py",
                      self.contents("python3-mxringlog"))
        where = self.directory + "/out"
        self.run_client([self.dpkg, "-x", self.made["mxring"], where])
        with open(where + "/usr/lib/systemd/system/mxring.service") as unit:
            self.assertIn("ExecStart=/usr/bin/mxring serve -c /etc/mxring/mxring.toml", unit.read())
        self.run_client([where + "/usr/bin/mxring", "serve", "-t", "-c",
                         where + "/etc/mxring/mxring.toml", "--log-dir",
                         self.directory + "/log"])
        fields = self.run_client([self.dpkg, "-f", self.made["mxring"], "Depends", "Version"])
        self.assertIn(b"libwolfssl", fields.stdout)

    def test_lintian(self):
        lintian = self.need("lintian")
        done = subprocess.run([lintian, "--allow-root", "--fail-on", "error", *self.made.values()],
                              capture_output=True, text=True, timeout=170)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_in_a_clean_root(self):
        tar = os.environ.get("MXRING_DEBIAN_ROOT")
        if not tar or os.geteuid() != 0:
            self.skipTest("MXRING_DEBIAN_ROOT names no root, or this is not root")
        root = mxtest.short_directory(self)
        self.run_client(["tar", "-xf", tar, "-C", root, "--exclude=./dev/*"], timeout=120)
        self.run_client(["mkdir", "-p", root + "/dev/shm", root + "/packages"])
        for kind, place in (("proc", "/proc"), ("devtmpfs", "/dev")):
            self.run_client(["mount", "-t", kind, kind, root + place])
            self.addCleanup(subprocess.run, ["umount", "-l", root + place], check=True)
        self.run_client(["cp", "/etc/resolv.conf", root + "/etc/resolv.conf"])
        self.run_client(["cp", *self.made.values(), root + "/packages"])

        def inside(*command, timeout=170):
            return self.run_client(["chroot", root, *command], timeout=timeout).stdout.decode()

        begun = time.monotonic()
        inside("apt-get", "-q", "update")
        inside("sh", "-c", "DEBIAN_FRONTEND=noninteractive apt-get -qy install "
               "--no-install-recommends " +
               " ".join("/packages/" + os.path.basename(self.made[name])
                        for name in ("mxring", "python3-mxringlog")), timeout=300)
        self.assertIn("mxring", inside("getent", "passwd", "mxring"))
        self.receive(root, 0)
        print(f"package to first mail: {time.monotonic() - begun:.1f} s")
        # Another build of it over the log of the one before.
        self.build("-D", "CPACK_DEBIAN_PACKAGE_RELEASE=2")
        newer = max(glob.glob(self.folder + "/mxring_*-2_*.deb"))
        self.run_client(["cp", newer, root + "/packages"])
        inside("dpkg", "-i", "/packages/" + os.path.basename(newer))
        self.receive(root, 1)
        seen = inside("python3", "-c", "import mxringlog; print([r.offset for r in "
                      "mxringlog.Log('/var/lib/mxring/log').records()])")
        self.assertEqual(json.loads(seen), [0, 1])
        inside("dpkg", "--purge", "mxring")
        for path in ("/usr/bin/mxring", "/etc/mxring"):
            self.assertFalse(os.path.exists(root + path), path)
        self.assertTrue(os.path.exists(root + "/var/lib/mxring/log"))  # mail stays

    def receive(self, root, offset):
        server = subprocess.Popen(
            ["chroot", "--userspec=mxring:mxring", root, "/usr/bin/mxring", "serve", "-c",
             "/etc/mxring/mxring.toml", "--smtp", "127.0.0.1:0", "--admin", ""],
            stdout=subprocess.PIPE)
        try:
            port = int(server.stdout.readline().split(b"smtp=127.0.0.1:")[1].split()[0])
            with Wire(("127.0.0.1", port)) as wire:
                wire.hello()
                self.assertEqual(wire.message(sample_message()), f"250 2.0.0 Ok {offset}")
        finally:
            server.terminate()
            self.assertEqual(server.wait(60), 0)
            server.stdout.close()


if __name__ == "__main__":
    mxtest.main()
