"""Restarts and reloads while clients deliver: nobody is refused, and nothing acknowledged is lost.

The part of the service manager is played by this test: it holds the listening sockets for SMTP and
for SMTP over TLS, hands them to each new process, and waits for what Type=notify waits for. Eight
rounds in ctest; MXRING_RESTARTS=100 as `./run.sh soak` runs it.
"""

import os
import socket
import subprocess
import threading
import time

import handed_over
import mxtest
from mxtest import BINARY, Log, Wire, sample_message

ROUNDS = int(os.environ.get("MXRING_RESTARTS", "8"))
CLIENTS = 6


class Crowd:
    """Clients that deliver one message a connection until they are told to stop."""

    def __init__(self, addresses):
        self.stopping = threading.Event()
        self.refused = []  # at the door
        self.acknowledged = []
        self.put_off = 0  # 421 in the middle: a draining server says goodbye
        self.cut = []
        self.latest = 0.0  # the longest that anybody waited for a banner
        self.threads = [threading.Thread(target=self._deliver, args=(n, address, tls))
                        for n in range(CLIENTS) for address, tls in addresses]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(90)

    def _deliver(self, number, address, tls):
        sent = 0
        while not self.stopping.is_set():
            begun = time.monotonic()
            welcomed = False
            try:
                with Wire(address, timeout=60, tls=tls) as wire:
                    self.latest = max(self.latest, time.monotonic() - begun)
                    if not wire.banner.startswith("220"):
                        self.refused.append(wire.banner)
                        continue
                    welcomed = True
                    sent += 1
                    body = sample_message(300, f"c{number}.{bool(tls)}.{sent}")
                    answer = wire.hello()
                    if answer.startswith("250"):
                        answer = wire.message(body)
                    if answer.startswith("250"):
                        self.acknowledged.append(mxtest.sha256(body))
                    elif answer.startswith("421 4.3.2"):
                        self.put_off += 1
                    else:
                        self.refused.append(answer)
            except OSError as error:
                # After the banner nothing was promised; before it, nobody was there.
                (self.cut if welcomed else self.refused).append(error)


class Restarts(handed_over.Sockets, mxtest.TestCase):
    def test_nobody_is_refused(self):
        smtp, smtps = self.listening(), self.listening()
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        folder = mxtest.short_directory(self)
        manager.bind(os.path.join(folder, "notify"))
        manager.settimeout(40)
        control = os.path.join(folder, "control")
        server = self.hand_over(
            [smtp, smtps], "smtp:smtps", {"journal": {"to": ""}, "listen": {"control": control}},
            env={**os.environ, "NOTIFY_SOCKET": os.path.join(folder, "notify")})
        self.servers.append(server)
        server.start()
        self.assertEqual(manager.recv(4096), b"READY=1")
        crowd = Crowd([(smtp.getsockname(), None), (smtps.getsockname(), mxtest.unverified())])
        self.addCleanup(crowd.stop)
        away = 0.0
        for i in range(ROUNDS):
            self.reload(server, control, recipients=100 + i)
            self.assertTrue(manager.recv(4096).startswith(b"RELOADING=1\n"))
            self.assertEqual(manager.recv(4096), b"READY=1")
            enough = len(crowd.acknowledged) + 2
            mxtest.wait_until(lambda: len(crowd.acknowledged) > enough or crowd.refused, 60,
                              "deliveries between two restarts")
            begun = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertEqual(manager.recv(4096), b"STOPPING=1")
            server.start()
            self.assertEqual(manager.recv(4096), b"READY=1")
            away += time.monotonic() - begun
        crowd.stop()
        self.assertEqual(server.stop(), 0)
        records = Log(server.log_dir).records()
        lost = set(crowd.acknowledged) - {record["sha256"] for record in records}
        print(f"{ROUNDS} restarts and {ROUNDS} reloads: {len(crowd.acknowledged)} acknowledged, "
              f"{len(records)} stored, {len(lost)} lost, {len(crowd.refused)} refused, "
              f"{crowd.put_off} told 421 within a transaction, {len(crowd.cut)} cut; from SIGTERM "
              f"to ready {1000 * away / ROUNDS:.0f} ms, longest wait for a banner "
              f"{1000 * crowd.latest:.0f} ms")
        self.assertEqual(crowd.refused, [])
        self.assertEqual(lost, set())
        self.assertGreater(len(crowd.acknowledged), 2 * ROUNDS)

    def reload(self, server, control, recipients):
        server.config["limits"]["recipients"] = recipients
        with open(os.path.join(self.directory, "mxring.toml"), "w") as out:
            out.write(mxtest.toml(server.config))
        done = self.run_client([BINARY, "ctl", "reload", "--socket", control])
        self.assertIn(b"configuration read again", done.stdout)

    def test_under_systemds_own_hand_over(self):
        """One start by systemd-socket-activate, which begins the service with the first client."""
        program = self.need("systemd-socket-activate")
        ports = [mxtest.free_port() for _ in range(2)]
        server = mxtest.Server(self.directory, start=False)
        with open(os.path.join(self.directory, "out"), "wb") as out:
            process = subprocess.Popen(
                [program, "--listen", f"127.0.0.1:{ports[0]}", "--listen", f"127.0.0.1:{ports[1]}",
                 "--fdname=smtp:smtps", *server.command()], stdin=subprocess.DEVNULL,
                stdout=out, stderr=out)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def wire(port, tls):
            try:
                return Wire(("127.0.0.1", port), tls=tls)
            except ConnectionRefusedError:
                return None
        for port, tls in ((ports[0], None), (ports[1], mxtest.unverified())):
            with mxtest.wait_until(lambda: wire(port, tls), 30, "it listens") as client:
                client.hello()
                self.assertRegex(client.message(sample_message()), "^250")
        process.terminate()
        self.assertEqual(process.wait(60), 0)


if __name__ == "__main__":
    mxtest.main()
