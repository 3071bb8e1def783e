"""tuning/container: the image, its seccomp profile and its compose file. With MXRING_IMAGE_TAR (an
image that `podman save` wrote, or `./run.sh soak` had made) the image runs as the user who runs
this, rootless unless that is root: read-only, without capabilities, once under podman's own seccomp
profile, which forbids io_uring, and once under ours."""

import json
import os
import re
import subprocess
import time
import uuid

import mxtest
from mxtest import Wire, sample_message

PLACE = os.path.join(mxtest.SOURCE, "tuning", "container")


class Files(mxtest.TestCase):
    def test_the_profile_allows_what_the_receiver_allows_itself(self):
        with open(os.path.join(PLACE, "seccomp.json")) as text:
            profile = json.load(text)
        self.assertEqual(profile["defaultAction"], "SCMP_ACT_ERRNO")
        allowed = {name for rule in profile["syscalls"] for name in rule["names"]}
        with open(os.path.join(mxtest.SOURCE, "src", "server", "system_calls.cc")) as text:
            wanted = set(re.findall(r'Row\{"([a-z0-9_]+)"', text.read()))
        self.assertGreater(len(wanted), 80)
        self.assertLessEqual(wanted, allowed)
        self.assertLessEqual({"io_uring_setup", "execve", "landlock_restrict_self", "seccomp"}, allowed)
        for name in ("mount", "ptrace", "bpf", "keyctl", "reboot", "unshare", "setns", "kexec_load",
                     "perf_event_open", "userfaultfd", "open_by_handle_at", "init_module"):
            self.assertNotIn(name, allowed)

    def test_variables_are_keys(self):
        """What the image and the compose file set is a configuration."""
        variables = {}
        for name in ("Containerfile", "compose.yaml"):
            with open(os.path.join(PLACE, name)) as text:
                found = dict(re.findall(r"(MXRING_[A-Z_]+)(?:=|: )(\S+)", text.read()))
            self.assertGreater(len(found), 2, name)
            variables.update(found)
        variables["MXRING_LOG__DIR"] = os.path.join(self.directory, "log")
        done = subprocess.run([mxtest.BINARY, "serve", "-t"], capture_output=True, text=True,
                              timeout=60, env={**os.environ, **variables})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('domains = ["example.org", "example.net"]', done.stdout)


class Podman(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        tar = os.environ.get("MXRING_IMAGE_TAR")
        if not tar:
            self.skipTest("MXRING_IMAGE_TAR names no image; ./run.sh soak makes one")
        self.podman = [self.need("podman"), *self.runtime()]
        self.run_client([*self.podman, "load", "--quiet", "--input", tar], timeout=300)

    @staticmethod
    def runtime():
        """crun refuses hosts that have both kinds of control groups, where runc works."""
        both = os.path.isdir("/sys/fs/cgroup/unified")
        return ["--runtime", "runc"] if both and mxtest.find_program("runc") else []

    def receive(self, wanted, *options):
        name, volume, port = "mxring-" + uuid.uuid4().hex, uuid.uuid4().hex, mxtest.free_port()
        self.addCleanup(subprocess.run, [*self.podman, "volume", "rm", "--force", volume],
                        capture_output=True, timeout=120)
        self.addCleanup(subprocess.run, [*self.podman, "rm", "--force", "--time", "5", name],
                        capture_output=True, timeout=120)
        self.run_client(
            [*self.podman, "run", "--detach", "--name", name, "--read-only", "--cap-drop", "ALL",
             "--security-opt", "no-new-privileges", "--network", "host", "--ulimit",
             "nofile=4096:4096", "--ulimit", "nproc=4096:4096", "--volume",
             f"{volume}:/var/lib/mxring", "--env", f"MXRING_LISTEN__SMTP=127.0.0.1:{port}", "--env",
             "MXRING_LIMITS__DISK_RESERVE_PERCENT=0", "--env", "MXRING_LIMITS__CONNECTIONS=500",
             "--env", "MXRING_LOG__SEGMENT_BYTES=32MiB", *options, "localhost/mxring"], timeout=300)

        def logs():
            done = subprocess.run([*self.podman, "logs", name], capture_output=True, text=True,
                                  timeout=60)
            return done.stdout + done.stderr

        mxtest.wait_until(lambda: "ready smtp=" in logs(), 60, "the ready line: " + logs())
        self.assertEqual("receiving on epoll" in logs(), wanted == "epoll", logs())
        with Wire(("127.0.0.1", port)) as wire:
            wire.hello()
            begun = time.monotonic()
            self.assertEqual(wire.message(sample_message(100_000)), "250 2.0.0 Ok 0")
        status = self.run_client([*self.podman, "exec", name, "/usr/bin/mxring", "ctl", "status",
                                  "--socket", "/var/lib/mxring/control"])
        self.assertIn(b"messages", status.stdout)
        self.run_client([*self.podman, "stop", "--time", "60", name], timeout=120)
        done = self.run_client([*self.podman, "inspect", "--format",
                                "{{.State.ExitCode}} {{.HostConfig.ReadonlyRootfs}}", name])
        self.assertEqual(done.stdout.split(), [b"0", b"true"])
        who = "root" if os.geteuid() == 0 else "rootless"
        print(f"podman, {who}, {wanted}: a mail received and durable in "
              f"{(time.monotonic() - begun) * 1000:.0f} ms with the stop, exit code 0")

    def test_with_the_default_profile(self):
        self.receive("epoll")

    def test_with_our_profile(self):
        self.receive("io_uring", "--security-opt", "seccomp=" + os.path.join(PLACE, "seccomp.json"))


if __name__ == "__main__":
    mxtest.main()
