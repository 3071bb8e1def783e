"""mxring-relay to LMTP: a peer that does what it is told, and Dovecot."""

import glob
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

import mxtest
from mxtest import Log, sample_message, wait_until
from relay_program import KILLS, Relay, RelayCase


class Peer:
    """An LMTP server. `script(recipient, subject, number)` gives the reply at the end of data, for
    each recipient; "close" closes instead. `rcpt(recipient)` the reply to RCPT."""

    def __init__(self, test, script=None, rcpt=None, extensions=("PIPELINING", "8BITMIME")):
        self.script = script or (lambda recipient, subject, number: "250 2.0.0 saved")
        self.rcpt = rcpt or (lambda recipient: "250 ok")
        self.extensions = extensions
        self.saved = []  # (subject, recipient) that were answered 2xx
        self.messages = []
        self.mail_lines = []
        self.verbs = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        test.addCleanup(self.listener.close)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        with client, client.makefile("rb") as lines:
            try:
                self._dialogue(client, lines)
            except OSError:
                pass

    def _dialogue(self, client, lines):
        def say(text):
            client.sendall(text.encode() + b"\r\n")

        say("220 peer LMTP")
        recipients = []
        while True:
            line = lines.readline().decode("utf-8", "replace").rstrip("\r\n")
            if not line:
                return
            verb = line.split(" ")[0].upper()
            with self.lock:
                self.verbs.append(verb)
            if verb == "LHLO":
                say("\r\n".join(["250-peer"] + [f"250-{e}" for e in self.extensions] + ["250 X"]))
            elif verb == "MAIL":
                recipients = []
                self.mail_lines.append(line)
                say("250 ok")
            elif verb == "RCPT":
                address = re.search(r"<(.*)>", line)[1]
                reply = self.rcpt(address)
                if reply.startswith("2"):
                    recipients.append(address)
                say(reply)
            elif verb == "DATA":
                say("354 go")
                body = b""
                while (text := lines.readline()) != b".\r\n":
                    body += text[1:] if text.startswith(b".") else text
                if not self._end(client, say, recipients, body):
                    return
            elif verb == "BDAT":
                body = lines.read(int(line.split(" ")[1]))
                if not self._end(client, say, recipients, body):
                    return
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")

    def _end(self, client, say, recipients, body):
        subject = re.search(rb"Subject: (\S+)", body)
        subject = subject[1].decode() if subject else ""
        with self.lock:
            number = len(self.messages)
            self.messages.append(body)
        for recipient in recipients:
            reply = self.script(recipient, subject, number)
            if callable(reply):
                reply = reply()
            if reply == "close":
                return False
            # Saved counts once the reply is on its way: what nobody was told may come again.
            with self.lock:
                if reply.startswith("2"):
                    self.saved.append((subject, recipient))
            say(reply)
        return True


class Scripted(RelayCase):
    def lmtp(self, peer, **more):
        keys = {"address": peer.address, "timeout": "2s", **more}
        return self.config(lmtp=keys)

    def expect_once(self, peer, wanted):
        self.assertEqual(sorted(peer.saved), sorted(wanted))

    def test_delivered_form_without_a_second_return_path(self):
        peer = Peer(self)
        self.send(3)
        relay = Relay(self, self.lmtp(peer))
        self.committed(3)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.assertEqual([s for s, _ in peer.saved], ["m0", "m1", "m2"])
        text = Log(self.server.log_dir).delivered(0)
        self.assertTrue(text.startswith(b"Return-Path:"))
        self.assertEqual(peer.messages[0], text.split(b"\r\n", 1)[1])

    def test_each_recipient_has_its_own_truth(self):
        tries = {}

        def script(recipient, subject, number):
            tries[recipient] = tries.get(recipient, 0) + 1
            if recipient.startswith("never"):
                return "550 5.1.1 no such user"
            if recipient.startswith("later") and tries[recipient] < 4:
                return "452 4.2.2 full"
            return "250 2.0.0 saved"

        peer = Peer(self, script, rcpt=lambda r: "550 5.1.1 unknown" if r.startswith("bad")
                    else "250 ok")
        everybody = ("one@mx.test", "later@mx.test", "never@mx.test", "bad@mx.test", "two@mx.test")
        self.send(1, recipients=everybody)
        self.send(1)
        relay = Relay(self, self.lmtp(peer))
        self.committed(2)
        self.assertEqual(relay.stop(), 0)
        self.expect_once(peer, [("m0", "one@mx.test"), ("m0", "two@mx.test"),
                                ("m0", "later@mx.test"), ("m1", "b@mx.test")])
        self.assertEqual(tries["never@mx.test"], 1, "a refusal for good is not asked again")
        (dead,) = self.groups("dead")["dead"]
        self.assertEqual(dead["offset"], 0)
        self.assertIn("5.1.1", dead["reply"])
        # Another attempt goes to those alone who do not have it.
        peer.script = lambda recipient, subject, number: "250 2.0.0 saved"
        peer.rcpt = lambda recipient: "250 ok"
        self.groups("dead", "--retry", "all")
        relay.start()
        wait_until(lambda: self.group()["dead"] == 0, 10, "the letter is delivered")
        self.assertEqual(relay.stop(), 0)
        self.assertEqual(sorted(peer.saved[4:]), [("m0", "bad@mx.test"), ("m0", "never@mx.test")])

    def test_closed_after_data_and_between_recipients(self):
        def script(recipient, subject, number):
            if number == 0:
                return "close"
            if number == 1 and recipient == "two@mx.test":
                return "close"
            return "250 saved"

        peer = Peer(self, script, extensions=("PIPELINING", "CHUNKING"))
        self.send(1, recipients=("one@mx.test", "two@mx.test"))
        relay = Relay(self, self.lmtp(peer))
        self.committed(1)
        self.assertEqual(relay.stop(), 0)
        self.expect_once(peer, [("m0", "one@mx.test"), ("m0", "two@mx.test")])
        self.assertIn("BDAT", peer.verbs)

    def test_killed_between_recipients(self):
        """Who was confirmed before the kill does not get it again."""
        told = threading.Event()
        block = [True]

        def script(recipient, subject, number):
            def wait():
                told.set()
                while block[0]:
                    time.sleep(0.01)
                return "close"
            return wait if block[0] and recipient == "two@mx.test" else "250 saved"

        peer = Peer(self, script)
        self.send(1, recipients=("one@mx.test", "two@mx.test"))
        relay = Relay(self, self.lmtp(peer, timeout="20s"))
        self.assertTrue(told.wait(10))
        time.sleep(0.3)
        relay.kill()
        block[0] = False
        relay.start()
        self.committed(1)
        self.assertEqual(relay.stop(), 0)
        self.expect_once(peer, [("m0", "one@mx.test"), ("m0", "two@mx.test")])
        # Moved back by hand, everybody gets it again: the notes were of another place.
        self.groups("reset", "--to-earliest", "--execute")
        relay.start()
        self.committed(1)
        self.assertEqual(relay.stop(), 0)
        self.assertEqual(len(peer.saved), 4)

    def test_killed_at_random_moments(self):
        peer = Peer(self)
        records = 60 if KILLS < 20 else 1000
        self.send(records, recipients=("one@mx.test", "two@mx.test"))
        luck = random.Random(5)
        relay = Relay(self, self.lmtp(peer), start=False)
        for _ in range(KILLS):
            relay.start(wait=False)
            time.sleep(luck.uniform(0.02, 0.1))
            relay.kill()
        relay.start()
        self.committed(records, 60)
        self.assertEqual(relay.stop(), 0)
        wanted = {(f"m{i}", r) for i in range(records) for r in ("one@mx.test", "two@mx.test")}
        self.assertEqual(set(peer.saved), wanted)
        # One transaction is under way at a time: its recipients may have it twice.
        self.assertLessEqual(len(peer.saved), len(wanted) + 2 * KILLS)
        order = list(dict.fromkeys(s for s, _ in peer.saved))
        self.assertEqual(order, [f"m{i}" for i in range(records)])
        print(f"lmtp: {KILLS} kills, {records} records for two recipients, missing 0, "
              f"repeated {len(peer.saved) - len(wanted)}")

    def test_several_connections_keep_each_recipients_order(self):
        peer = Peer(self, lambda r, s, n: (time.sleep(0.002), "250 saved")[1])
        for i in range(40):
            self.send(1, recipients=(f"u{i % 4}@mx.test",))
        relay = Relay(self, self.lmtp(peer, connections=4))
        self.committed(40)
        self.assertEqual(relay.stop(), 0)
        for user in range(4):
            numbers = [int(s[1:]) for s, r in peer.saved if r == f"u{user}@mx.test"]
            self.assertEqual(numbers, list(range(user, 40, 4)))

    def test_all_mail_to_one_address(self):
        peer = Peer(self)
        self.send(2, recipients=("one@mx.test", "two@mx.test"))
        relay = Relay(self, self.lmtp(peer, recipients="archive@mx.test"))
        self.committed(2)
        self.assertEqual(relay.stop(), 0)
        self.expect_once(peer, [("m0", "archive@mx.test"), ("m1", "archive@mx.test")])

    def test_nobody_listens_for_a_while(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.send(1)
        relay = Relay(self, self.config(lmtp={"address": f"127.0.0.1:{port}"}))
        wait_until(lambda: self.group()["state"] == "retrying", 10, "it is retrying")
        self.assertIn("refused", self.group()["error"])
        self.assertEqual(relay.stop(), 0)
        self.assertEqual(self.group()["current"], 0)


class Dovecot(RelayCase):
    def test_mail_lands_in_mailboxes(self):
        program = self.need("dovecot")
        self.need("lmtp", "/usr/lib/dovecot/lmtp")
        base = mxtest.short_directory(self)
        port = mxtest.free_port()
        user = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
        if user == "root":
            user = "nobody"
        group = subprocess.run(["id", "-gn", user], capture_output=True, text=True).stdout.strip()
        mail = os.path.join(base, "mail")
        os.makedirs(mail)
        os.chmod(base, 0o755)
        os.chmod(mail, 0o777)
        config = os.path.join(base, "dovecot.conf")
        with open(config, "w") as out:
            out.write(f"""
protocols = lmtp
base_dir = {base}/run
log_path = {base}/log
ssl = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
mail_location = maildir:{mail}/%n
userdb {{
  driver = static
  args = uid={user} gid={group} home={mail}/%n allow_all_users=yes
}}
passdb {{
  driver = static
  args = nopassword=y
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service lmtp {{
  chroot =
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
""")
        server = subprocess.Popen([program, "-F", "-c", config], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE)
        self.addCleanup(lambda: (server.terminate(), server.wait(10), server.stderr.close()))

        def listens():
            if server.poll() is not None:
                self.fail(server.stderr.read().decode())
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, 15, "dovecot listens")
        self.send(25, recipients=("joe@mx.test", "ann@mx.test"))
        relay = Relay(self, self.config(lmtp={"address": f"127.0.0.1:{port}"}))
        self.committed(25, 60)
        self.assertEqual(relay.stop(), 0)
        for who in ("joe", "ann"):
            files = glob.glob(f"{mail}/{who}/new/*")
            self.assertEqual(len(files), 25)
            with open(files[0], "rb") as one:
                head = one.read().split(b"\n\n")[0]
            self.assertEqual(len(re.findall(rb"(?im)^return-path:", head)), 1, head)


if __name__ == "__main__":
    mxtest.main()
