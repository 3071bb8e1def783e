"""mxringlog on living logs and for groups, and its package."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings

import mxtest
from mxtest import BINARY, Wire, sample_message, wait_until
from python_log import PACKAGE, ROOT, Case, copy_log, read, split, worked_example

import mxringlog  # python_log has put it where it is found
from mxringlog._crc import by_table


class Living(Case):
    def test_while_a_server_writes_rolls_and_expires(self):
        self.start(retain_bytes="12MiB")
        log = mxringlog.Log(self.log_dir)
        quick, slow = (log.follow(start="earliest", timeout=0) for _ in range(2))
        mine, its = [], []
        for round_ in range(60):
            self.send(30, 20_000)
            mine += quick.next_batch(1000)
            its += slow.next_batch(5)  # falls behind, until what comes next has been removed
        mine += quick.next_batch(1000)
        its += slow.next_batch(5000)
        records, gaps = split(mine)
        self.assertEqual(([r.message for r in records], gaps), (self.sent, []))
        records, gaps = split(its)
        self.assertGreater(len(gaps), 0)
        self.assertTrue(all(why == "removed" for *_, why in gaps), gaps)
        missing = {o for first, after, _ in gaps for o in range(first, after)}
        self.assertEqual(sorted([r.offset for r in records] + list(missing)),
                         list(range(len(self.sent))))
        for record in records:
            self.assertEqual(record.message, self.sent[record.offset])
        quick.close()
        slow.close()

    def test_it_is_woken(self):
        self.start()
        self.send(1)
        delays, flags = [], []
        with mxringlog.Log(self.log_dir).follow(timeout=10) as reader, \
                Wire(self.server.address) as wire:
            wire.hello()
            for _ in range(40):
                thread = mxtest.threading.Thread(target=lambda: wire.message(sample_message()))
                thread.start()
                record = next(reader)
                delays.append(time.time() - record.received_at_us / 1e6)
                flags.append(reader._view.flags & 4)
                thread.join()
            self.assertIsNotNone(reader._bell._page)  # by futex
            begun = time.monotonic()
            reader._bell.wait(reader._bell.value(), reader._view, 0.3)
            self.assertGreater(time.monotonic() - begun, 0.25)  # nothing came; polling is shorter
        self.assertTrue(all(flags))
        delays.sort()
        print(f"end of data to reader: median {delays[20] * 1e3:.1f} ms")
        self.assertLess(delays[20], 0.25)  # the machine may be busy

    def test_writer_killed_and_started_again(self):
        self.start()
        log = mxringlog.Log(self.log_dir)
        reader = log.follow(start="earliest")
        offsets = []
        for _ in range(4):
            self.send(25)
            self.server.kill()
            offsets += [entry.offset for entry in reader.next_batch(20)]
            self.server.start()
            offsets += [entry.offset for entry in reader.next_batch(20, timeout=5)]
        offsets += [entry.offset for entry in reader.next_batch(100)]
        self.assertEqual(offsets, list(range(100)))
        reader.close()

    def copy(self):
        self.assertEqual(self.server.stop(), 0)
        place = self.directory + "/copy"
        copy_log(self.log_dir, place)
        self.server.start()
        return place

    def put_back(self, place):
        self.assertEqual(self.server.stop(), 0)
        shutil.rmtree(self.log_dir)
        if place:
            shutil.copytree(place, self.log_dir)

    def test_a_log_put_back_is_noticed(self):
        self.start()
        self.send(5)
        place = self.copy()
        self.send(5)
        log = mxringlog.Log(self.log_dir)
        readers = [log.follow(start="earliest", timeout=0) for _ in range(2)]
        for reader in readers:
            self.assertEqual(len(list(reader)), 10)
        self.put_back(place)
        with self.assertRaises(mxringlog.BeyondEnd):
            next(readers[0])
        self.server.start()
        del self.sent[5:]
        self.send(8)  # longer than before: 10 is an offset again, of another message
        for reader in readers:
            with self.assertRaises(mxringlog.OtherLog):
                next(reader)
            reader.close()

    def test_a_log_made_anew_is_noticed(self):
        self.made_anew()

    def test_a_log_made_anew_is_noticed_when_its_file_has_the_same_inode(self):
        self.made_anew(lambda: (1, 1))  # as file systems do that give a number again at once

    def made_anew(self, inode=None):
        self.start()
        self.send(5)
        log = mxringlog.Log(self.log_dir)
        if inode is not None:
            log._files.state_inode = inode
        reader = log.follow(start="earliest", timeout=0)
        self.assertEqual(len(list(reader)), 5)
        self.put_back(None)
        with self.assertRaises(mxringlog.NotALog):
            next(reader)
        self.server.start()
        del self.sent[:]
        with self.assertRaises(mxringlog.BeyondEnd):
            next(reader)
        self.send(5)  # as many as before: there is nothing new to read, and it is another log
        with self.assertRaises(mxringlog.OtherLog):
            next(reader)
        self.send(2)
        with self.assertRaises(mxringlog.OtherLog):
            next(reader)
        reader.close()


FOLLOW = """
import sys
sys.path.insert(0, sys.argv[1])
import mxringlog
with mxringlog.Log(sys.argv[2]).follow(group="g") as reader:
    for entry in reader:
        print(entry.offset, flush=True)
        reader.commit(entry)
        print("committed", reader.committed, flush=True)
"""


class Groups(Case):
    def setUp(self):
        super().setUp()
        self.start()
        self.cursor = os.path.join(self.log_dir, "groups", "g.cursor")

    def facts(self):
        done = self.run_client([BINARY, "groups", "describe", self.log_dir, "g", "--json"])
        return json.loads(done.stdout)["groups"][0]

    def follow(self, **more):
        return mxringlog.Log(self.log_dir).follow("g", timeout=0, **more)

    def offsets(self, **more):
        with self.follow(**more) as reader:
            return [entry.offset for entry in reader]

    def test_place_and_commands(self):
        self.send(6)
        with self.follow() as reader:
            self.assertEqual([next(reader).offset for _ in range(4)], [0, 1, 2, 3])
            self.assertLessEqual(reader.commit(2), 2)  # a thread writes
            self.assertEqual(reader.flush(), 2)
            facts = self.facts()
            self.assertEqual((facts["state"], facts["owner_pid"], facts["current"], facts["holds"]),
                             ("running", os.getpid(), 2, True))
            with self.assertRaises(mxringlog.GroupError):
                reader.commit(5)  # not handed over
            with self.assertRaises(mxringlog.Owned) as caught:
                self.follow()
            self.assertIn(f"(pid {os.getpid()})", str(caught.exception))
            reader.commit()
            self.assertEqual(reader.flush(), 4)
            reader.commit(1)  # behind what is on disk: nothing
        self.assertEqual((self.facts()["current"], self.facts()["state"]), (4, "idle"))
        self.assertEqual(self.offsets(), [4, 5])
        self.run_client([BINARY, "groups", "pause", self.log_dir, "g"])
        with self.assertRaises(mxringlog.Paused):
            self.follow()
        self.run_client([BINARY, "groups", "resume", self.log_dir, "g"])
        # The C++ reader and this one share a group.
        tail = subprocess.run(["timeout", "2", BINARY, "log", "tail", self.log_dir, "--group", "g",
                               "--json"], capture_output=True)
        self.assertEqual([json.loads(line)["offset"] for line in tail.stdout.splitlines()], [4, 5])
        self.assertEqual(self.offsets(), [])
        for name in ("", "a/b", "x" * 65, "\xe9"):
            with self.assertRaises(mxringlog.GroupError):
                mxringlog.Log(self.log_dir).follow(name)
        with self.assertRaises(mxringlog.GroupError):
            mxringlog.Log(self.log_dir).follow("none", create=False)
        with mxringlog.Log(self.log_dir).follow("late", start="latest", timeout=0) as late:
            self.assertEqual(list(late), [])
        self.run_client([BINARY, "groups", "describe", self.log_dir, "late"])

    def test_at_most_five_writes_a_second(self):
        self.send(50)
        with self.follow() as reader:
            generation = reader._cursor.fields.generation
            begun = time.monotonic()
            for _ in reader:
                reader.commit()
                time.sleep(0.02)
            writes = reader._cursor.fields.generation - generation
            self.assertGreaterEqual(writes, 2)
            self.assertLessEqual(writes, 5 * (time.monotonic() - begun) + 1)
            self.assertLess(time.monotonic() - begun, 6)  # and commit() does not wait for them
        self.assertEqual(self.facts()["current"], 50)

    def test_killed_again_and_again(self):
        printed = os.path.join(self.directory, "printed")
        total = 0
        for round_ in range(6):
            self.send(60)
            total += 60
            with open(printed, "ab") as out:
                process = subprocess.Popen(
                    [sys.executable, "-B", "-c", FOLLOW, PACKAGE, self.log_dir], stdout=out)
            wanted = total - 1 if round_ == 5 else total - random.Random(round_).randrange(5, 55)
            try:
                wait_until(lambda: f"\n{wanted}\n" in read(printed), 20, f"{wanted}")
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
            with open(printed, "ab") as out:
                out.write(b"killed\n")
        seen, committed, last = [], 0, -1
        with open(printed) as lines:
            for line in lines:
                word = line.split()
                if word == ["killed"]:
                    last = -1
                elif word[0] == "committed":
                    committed = max(committed, int(word[1]))
                else:
                    offset = int(word[0])
                    if last < 0:  # begins at what was committed, at the latest
                        self.assertTrue(committed <= offset <= len(seen), (committed, offset))
                    else:
                        self.assertEqual(offset, last + 1)
                    last = offset
                    if offset == len(seen):
                        seen.append(offset)
        self.assertEqual(seen, list(range(total)))

    def test_every_byte_of_the_cursor(self):
        self.send(6)
        with self.follow() as reader:
            for _ in range(3):
                next(reader)
                reader.commit()
                reader.flush()
        with open(self.cursor, "rb") as file:
            good = file.read()
        self.assertEqual(len(good), 8192)
        newest = 0 if self.generation(good, 0) > self.generation(good, 4096) else 4096

        def begins(image):
            with open(self.cursor, "r+b") as file:
                file.write(image)
                file.truncate(len(image))
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                reader = self.follow()
            place = next(reader).offset
            reader._cursor._close_fd()  # without a commit
            reader.close()
            return place, ["damaged" in str(warning.message) for warning in said]

        self.assertEqual(begins(good), (3, []))
        for at in [*range(128), *range(4096, 4224), 128, 4095, 8191]:
            image = bytearray(good)
            image[at] ^= 1 << at % 8
            # The other slot is one commit older; outside of the slots nothing counts.
            self.assertEqual(begins(image), (2 if newest <= at < newest + 128 else 3, []), at)
        for cut in (0, 60, 4096, 4096 + 127):
            image = good[:cut]
            older = 0 if cut < 128 else 3 if newest == 0 else 2
            self.assertEqual(begins(image), (older, [True] if cut < 128 else []), cut)
        for torn in range(8, 128, 8):  # half of a newer slot over the older one
            image = bytearray(good)
            image[4096 - newest:4096 - newest + torn] = good[newest:newest + torn]
            self.assertEqual(begins(image), (3, []), torn)
        image = bytearray(good)  # a good slot in the place of the other one
        slot = bytearray(good[newest:newest + 124])
        slot[8:16] = (self.generation(good, newest) + 2).to_bytes(8, "little")
        slot[32:40] = (1).to_bytes(8, "little")
        image[4096 - newest:4096 - newest + 128] = slot + by_table(0, bytes(slot)).to_bytes(
            4, "little")
        self.assertEqual(begins(image), (3, []))
        self.assertEqual(begins(bytes(8192)), (0, [True]))
        # It holds everything meanwhile, and the next commit makes it good.
        with open(self.cursor, "wb") as file:
            file.write(bytes(8192))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with self.follow() as reader:
                self.assertEqual([entry.offset for entry in reader], list(range(6)))
                reader.commit()
        facts = self.facts()
        self.assertEqual((facts["current"], facts["error"], facts["holds"]), (6, None, True))

    @staticmethod
    def generation(image, at):
        return int.from_bytes(image[at + 8:at + 16], "little")

    def test_a_cursor_of_another_log_or_beyond_the_end(self):
        self.send(4)
        self.assertEqual(self.offsets(), [0, 1, 2, 3])
        with self.follow() as reader:
            list(reader)
            reader.commit()
        self.assertEqual(self.server.stop(), 0)
        other = mxtest.Server(self.directory, self.CONFIG, log_dir=self.directory + "/other")
        self.servers.append(other)
        with Wire(other.address) as wire:
            wire.hello()
            for _ in range(9):
                wire.message(sample_message())
        os.makedirs(other.log_dir + "/groups", exist_ok=True)
        shutil.copy(self.cursor, other.log_dir + "/groups/g.cursor")
        with self.assertRaises(mxringlog.OtherLog) as caught:
            mxringlog.Log(other.log_dir).follow("g")
        self.assertIn("mxring groups reset", str(caught.exception))
        with open(self.cursor, "r+b") as file:
            image = bytearray(file.read())
            at = 0 if self.generation(image, 0) > self.generation(image, 4096) else 4096
            image[at + 32:at + 40] = (5).to_bytes(8, "little")
            image[at + 124:at + 128] = by_table(0, bytes(image[at:at + 124])).to_bytes(4, "little")
            file.seek(0)
            file.write(image)
        with self.assertRaises(mxringlog.BeyondEnd):
            self.follow()

    def test_who_may_not_read_and_who_may_not_write(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become somebody else")
        self.send(3)
        self.assertEqual(self.offsets(), [0, 1, 2])  # makes the group
        place = mxtest.short_directory(self)  # where everybody may go
        os.chmod(place, 0o755)
        shutil.copytree(PACKAGE, place + "/python", ignore=shutil.ignore_patterns("__pycache__"))
        copy_log(self.log_dir, place + "/log")

        def become_nobody():
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)

        def as_nobody(call):
            program = ("import sys; sys.path.insert(0, sys.argv[1] + '/python'); import mxringlog\n"
                       f"try: print({call})\n"
                       "except mxringlog.LogError as error: print(type(error).__name__, error)")
            python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
            done = self.run_client([python, "-B", "-c", program, place], cwd="/",
                                   preexec_fn=become_nobody)
            return done.stdout.decode()

        read = "[r.offset for r in mxringlog.Log(sys.argv[1] + '/log').records()]"
        follow = "next(mxringlog.Log(sys.argv[1] + '/log').follow('{}', timeout=0))"
        os.chmod(place + "/log", 0o700)
        self.assertIn("Permission denied", as_nobody(read))
        self.run_client(["chmod", "-R", "a+rX", place])
        self.assertEqual(as_nobody(read), "[0, 1, 2]\n")
        for group in ("g", "new"):  # a cursor it may not write, a folder it may not write
            said = as_nobody(follow.format(group))
            self.assertRegex(said, f"^GroupError group {group}: .*Permission denied")
        (segment,) = [n for n in os.listdir(place + "/log") if n.endswith(".seg")]
        os.chmod(os.path.join(place, "log", segment), 0o600)
        self.assertIn("Permission denied", as_nobody(read))

    def test_a_follower_that_is_dropped_is_no_owner(self):
        self.send(1)
        reader = self.follow()
        del reader
        self.assertEqual(self.offsets(), [0])

    def test_a_folder_that_cannot_be_written(self):
        self.send(1)
        shutil.rmtree(os.path.join(self.log_dir, "groups"))
        with open(os.path.join(self.log_dir, "groups"), "w"):
            pass
        with self.assertRaises(mxringlog.GroupError):
            self.follow()
        os.unlink(os.path.join(self.log_dir, "groups"))


class Package(Case):
    def test_readme_as_printed(self):
        self.start()
        with open(os.path.join(ROOT, "README.md")) as text:
            section = text.read().split("## Programs that use the mail\n")[1].split("\n## ")[0]
        (block,) = re.findall(r"```python\n(.*?)```", section, re.S)
        program = os.path.join(self.directory, "helpdesk.py")
        with open(program, "w") as file:
            file.write(block)
        printed = os.path.join(self.directory, "printed")
        for round_ in range(2):
            self.send(10)
            with open(printed, "ab") as out:
                process = subprocess.Popen([sys.executable, "-B", program, self.log_dir],
                                           stdout=out, stderr=subprocess.PIPE,
                                           env={**os.environ, "PYTHONPATH": PACKAGE})
            last = f"_{10 * round_ + 9} "
            wait_until(lambda: last in read(printed), 20, "the last record")
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
        log_id = self.log.info()["log_id"]
        with open(printed) as lines:
            self.assertEqual([line.split()[0] for line in lines],
                             [f"{log_id}_{i}" for i in range(20)])

    def version(self):
        """The one that include/mxring/version.h has for everything."""
        with open(os.path.join(mxtest.SOURCE, "include", "mxring", "version.h")) as header:
            return ".".join(re.findall(r"VERSION_(?:MAJOR|MINOR|PATCH) (\d+)\n", header.read()))

    def test_one_version(self):
        self.assertEqual(mxringlog.__version__, self.version())
        said = self.run_client([mxtest.BINARY, "--version"]).stdout.decode().split()
        self.assertEqual(said[:2], ["mxring", self.version()])

    def test_a_wheel_builds_offline(self):
        source = os.path.join(self.directory, "source")
        shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
        for python in (sys.executable, "/usr/bin/python3"):
            if os.path.exists(python) and subprocess.run(
                    [python, "-c", "import setuptools, wheel, pip"], capture_output=True,
                    cwd="/").returncode == 0:
                break
        else:
            self.skipTest("pip, setuptools or wheel is not installed (Debian: python3-pip, "
                          "python3-wheel)")
        environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.run_client([python, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w",
                         self.directory, source], timeout=100, env=environment)
        place = os.path.join(self.directory, "installed")
        (wheel,) = [name for name in os.listdir(self.directory) if name.endswith(".whl")]
        self.assertEqual(wheel, f"mxringlog-{self.version()}-py3-none-any.whl")
        self.run_client([python, "-m", "zipfile", "-e", os.path.join(self.directory, wheel), place])
        self.assertTrue(os.path.exists(os.path.join(place, "mxringlog", "py.typed")))
        segment, _ = worked_example()
        with open(os.path.join(self.directory, "00000000000000000007.seg"), "wb") as file:
            file.write(segment)
        done = self.run_client(
            [python, "-c", "import mxringlog, sys; print(mxringlog.__file__, *[r.offset for r in "
             "mxringlog.Log(sys.argv[1]).records()])", self.directory], cwd="/",
            env={**os.environ, "PYTHONPATH": place})
        self.assertEqual(done.stdout.decode().split(),
                         [os.path.join(place, "mxringlog", "__init__.py"), "7", "9"])

    def test_no_dependency_and_old_enough_a_python(self):
        """Only the standard library, and no syntax later than 3.9."""
        import ast
        if not hasattr(sys, "stdlib_module_names"):
            self.skipTest("needs Python 3.10")
        for name in sorted(os.listdir(os.path.join(PACKAGE, "mxringlog"))):
            if not name.endswith(".py"):
                continue
            with open(os.path.join(PACKAGE, "mxringlog", name)) as file:
                tree = ast.parse(file.read(), name, feature_version=(3, 9))
            for node in ast.walk(tree):
                modules = ([a.name for a in node.names] if isinstance(node, ast.Import) else
                           [node.module] if isinstance(node, ast.ImportFrom) and not node.level
                           else [])
                for module in modules:
                    if module != "crc32c":  # optional
                        self.assertIn(module.split(".")[0], sys.stdlib_module_names, name)


if __name__ == "__main__":
    mxtest.main()
