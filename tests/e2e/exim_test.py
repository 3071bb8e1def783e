"""Exim relays to us, by BDAT: a sender that uses CHUNKING whenever it is offered.

Debian's package cannot stand beside Postfix; the program is looked for in PATH and in EXIM (a path).
"""

import os
import shutil
import subprocess

import mxtest
from mxtest import Log

CONFIG = """
primary_hostname = exim.test
spool_directory = {directory}/spool
log_file_path = {directory}/spool/exim.%s
tls_advertise_hosts =
keep_environment =
acl_smtp_rcpt = accept
begin routers
onward:
  driver = manualroute
  domains = *
  route_list = * 127.0.0.1 byname
  self = send
  transport = onward
begin transports
onward:
  driver = smtp
  port = {port}
  allow_localhost
  hosts_avoid_tls = *
  hosts_try_chunking = {chunking}
"""


class Relay(mxtest.TestCase):
    def setUp(self):
        super().setUp()
        self.exim = os.environ.get("EXIM") or mxtest.find_program("exim4") or self.need("exim")
        works = subprocess.run([self.exim, "-C", "/dev/null", "-bV"], capture_output=True, text=True, timeout=20,
                               check=False)
        if works.returncode != 0:
            self.skipTest(f"{self.exim} does not start: {works.stderr.strip()}")
        if os.geteuid() != 0:
            self.skipTest("exim takes a configuration of ours from root only")

    def relay(self, server, message, chunking):
        config = os.path.join(self.directory, "exim.conf")
        with open(config, "w", encoding="utf-8") as out:
            out.write(CONFIG.format(directory=self.directory, port=server.port,
                                    chunking="*" if chunking else ""))
        spool = os.path.join(self.directory, "spool")
        os.makedirs(spool, exist_ok=True)
        os.chmod(self.directory, 0o755)
        shutil.chown(spool, "Debian-exim")  # whom it becomes
        done = subprocess.run(
            [self.exim, "-C", config, "-odf", "-oi", "-f", "a@client.test", "b@mx.test",
             "c@mx.test"], input=message, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        with open(os.path.join(spool, "exim.main"), encoding="utf-8") as lines:
            said = lines.read()
        return said

    def test_chunks_and_data(self):
        server = self.serve({})
        log = Log(server.log_dir)
        body = b"".join(b"line %d\n.\n..\n" % i for i in range(20_000))
        message = b"From: a@client.test\nTo: b@mx.test\nSubject: exim\n\n" + body
        for count, chunking in enumerate((True, False)):
            said = self.relay(server, message, chunking)
            self.assertIn("=> b@mx.test", said)
            self.assertIn(f"250 2.0.0 Ok {count}", said)
            # Exim marks what it sent by BDAT with "K".
            self.assertEqual(" K " in said.splitlines()[-3], chunking, said)
            received = log.as_received(count)
            self.assertTrue(received.endswith(b"\r\n\r\n" + body.replace(b"\n", b"\r\n")))
            self.assertEqual(log.records()[count]["rcpt_to"], ["b@mx.test", "c@mx.test"])
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    mxtest.main()
