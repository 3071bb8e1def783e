"""A whole Postfix of a test's own, which takes mail over SMTP on loopback and relays all of it.

    postfix = Postfix(test, relay_port)     skips the test where there can be none
    ... smtplib.SMTP("127.0.0.1", postfix.port) ...

It is ended with the test.
"""

import os
import pwd
import shutil
import subprocess
import tempfile

import mxtest

MAIN = """
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{port}
relay_domains =
alias_maps =
alias_database =
local_recipient_maps =
smtp_host_lookup = native
disable_dns_lookups = yes
smtp_tls_security_level = none
smtpd_tls_security_level = none
maillog_file_prefixes = {base}
maillog_file = {base}/maillog
import_environment = MAIL_CONFIG PATH
"""
MASTER = """
127.0.0.1:{listen} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    def __init__(self, test, relay_port, settings=""):
        """`settings` are further lines of main.cf."""
        self.test = test
        self.program = test.need("postfix")
        if os.geteuid() != 0:
            test.skipTest("only root can start a Postfix")
        try:
            self.owner = pwd.getpwnam("postfix")
        except KeyError:
            test.skipTest("there is no user postfix")
        self.base = self._place()
        test.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.port = mxtest.free_port()
        self._start(MAIN.format(base=self.base, port=relay_port) + settings)

    def _place(self):
        """A directory that the user postfix can reach, and whose sockets have short enough names (108
        bytes); the scratch one when it is such."""
        path = self.test.directory
        if len(path) > 50:
            return tempfile.mkdtemp(prefix="mxring-postfix.", dir="/var/tmp")
        while path != "/":
            if not os.stat(path).st_mode & 0o001 and path != self.test.directory:
                return tempfile.mkdtemp(prefix="mxring-postfix.", dir="/var/tmp")
            path = os.path.dirname(path)
        os.chmod(self.test.directory, 0o755)
        return tempfile.mkdtemp(prefix="postfix.", dir=self.test.directory)

    def _start(self, main):
        os.chmod(self.base, 0o755)
        for name in ("etc", "queue", "data"):
            os.mkdir(os.path.join(self.base, name))
        os.chown(os.path.join(self.base, "data"), self.owner.pw_uid, self.owner.pw_gid)
        etc = os.path.join(self.base, "etc")
        with open(os.path.join(etc, "main.cf"), "w") as out:
            out.write(main)
        with open(os.path.join(etc, "master.cf"), "w") as out:
            out.write(MASTER.format(listen=self.port).lstrip())
        # Its daemons outlive the command and would hold its pipes open.
        output = os.path.join(self.base, "start.txt")
        with open(output, "wb") as out:
            started = subprocess.run([self.program, "-c", etc, "start"], stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=out, timeout=60, check=False)
        self.test.addCleanup(subprocess.run, [self.program, "-c", etc, "stop"], timeout=60,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, check=False)
        with open(output) as text:
            self.test.assertEqual(started.returncode, 0, text.read())

    def maillog(self):
        try:
            with open(os.path.join(self.base, "maillog")) as text:
                return text.read()
        except OSError:
            return "(no maillog)"
