"""Postfix, Exim and OpenSMTPD, each from configuration in a temporary folder."""

import glob
import os
import pwd
import signal

from server import Server, Skip, free_port, libraries, program


def need_root():
    if os.geteuid() != 0:
        raise Skip("only root can start it with its users")


def need_user(*names):
    """The first of these users that exists; unpacked packages make none."""
    for name in names:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Skip(f"there is no user {names[0]} on this machine")


def count_files(*patterns):
    return sum(len(glob.glob(pattern)) for pattern in patterns)


# --- Postfix -----------------------------------------------------------------------------------

POSTFIX_MAIN = """\
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
smtpd_tls_security_level = none
smtpd_recipient_limit = 1000
smtpd_client_event_limit_exceptions = 127.0.0.0/8
smtpd_peername_lookup = no
message_size_limit = 26214400
# Nothing is delivered: the work ends when the message is safe.
defer_transports = smtp relay local error retry
maillog_file_prefixes = {base}
maillog_file = {base}/maillog
import_environment = MAIL_CONFIG PATH
{extra}
"""
POSTFIX_MASTER = """\
127.0.0.1:{port} inet n - n - 200 smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(Server):
    extra = ""

    def start(self):
        need_root()
        need_user("postfix")
        master = "/usr/lib/postfix/sbin/master"
        if not os.path.exists(master):
            raise Skip("postfix is not installed")
        # Its users must be able to reach the folder, and 108 bytes must do for a socket's name.
        self.make_directory("/var/tmp")
        self.port = free_port()
        self.prepare()
        self.write("etc/main.cf", POSTFIX_MAIN.format(base=self.directory, extra=self.settings()))
        self.write("etc/master.cf", POSTFIX_MASTER.format(port=self.port))
        for name, owner in (("queue", 0), ("data", need_user("postfix").pw_uid)):
            os.mkdir(os.path.join(self.directory, name))
            os.chown(os.path.join(self.directory, name), owner, -1)
        config = os.path.join(self.directory, "etc")
        made = self.launch([program("postfix"), "-c", config, "check"])
        if made.wait(60) != 0:
            raise Skip(f"did not accept its configuration: {self.complaint()}")
        self.process = None
        # -d stays in the foreground, as nobody's child but ours.
        self.launch([master, "-c", config, "-d"], {"MAIL_CONFIG": config})
        self.await_port()

    def prepare(self):
        pass

    def settings(self):
        return self.extra

    def stored(self):
        queue = os.path.join(self.directory, "queue", "hold")
        return sum(len(files) for _, _, files in os.walk(queue)) if self.work == "store" else None


class PostfixDiscard(Postfix):
    name = "Postfix, DISCARD"
    work = "discard"
    comment = "access table; the message is read and dropped by cleanup"
    extra = "smtpd_recipient_restrictions = check_recipient_access static:DISCARD"


class PostfixHold(Postfix):
    name = "Postfix, HOLD"
    work = "store"
    comment = "queue file with fsync, not delivered"
    extra = "smtpd_recipient_restrictions = check_recipient_access static:HOLD, permit_mynetworks"


OPENDKIM = """\
Mode v
Socket inet:{milter}@127.0.0.1
Syslog no
UserID {user}
On-BadSignature reject
On-NoSignature reject
On-KeyNotFound reject
On-DNSError tempfail
On-InternalError tempfail
InternalHosts 192.0.2.255
PeerList /dev/null
MinimumKeyBits 1024
"""


class PostfixOpenDkim(Postfix):
    name = "Postfix + opendkim"
    work = "verify"
    comment = "DKIM only, by milter; a message that does not pass is refused; stored, not delivered"

    def prepare(self):
        opendkim = program("opendkim", self.options)
        self.resolver = self.options.zone.resolv_conf
        self.milter = free_port()
        user = need_user("opendkim", "nobody")
        config = self.write("opendkim.conf", OPENDKIM.format(milter=self.milter, user=user.pw_name))
        self.filter = self.launch([opendkim, "-f", "-x", config],
                                  {"LD_LIBRARY_PATH": libraries(self.options)})
        self.process = None

    def settings(self):
        return (f"smtpd_milters = inet:127.0.0.1:{self.milter}\nmilter_default_action = reject\n"
                "smtpd_recipient_restrictions = check_recipient_access static:HOLD, "
                "permit_mynetworks")

    def stop(self):
        if getattr(self, "filter", None) is not None and self.filter.poll() is None:
            self.filter.send_signal(signal.SIGTERM)
            self.filter.wait(30)
        return super().stop()


# --- Exim --------------------------------------------------------------------------------------

EXIM = """\
primary_hostname = bench.example
spool_directory = {base}/spool
log_file_path = {base}/log/%slog
pid_file_path = {base}/exim.pid
exim_user = {user}
exim_group = {group}
never_users = root
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
smtp_accept_max = 400
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
smtp_accept_queue = 0
message_size_limit = 26214400
host_lookup =
rfc1413_hosts =
hosts_proxy =
queue_only = true
queue_run_max = 0
tls_advertise_hosts =
acl_smtp_rcpt = accept
{acl}
begin acl
{acls}
begin routers
begin transports
begin retry
"""


class Exim(Server):
    acl = ""
    acls = ""
    more_settings = ""

    def start(self):
        need_root()
        exim = program("exim4", self.options)
        user = need_user("Debian-exim", "mail")
        self.make_directory("/var/tmp")
        self.port = free_port()
        for name in ("spool", "log"):
            os.mkdir(os.path.join(self.directory, name))
            os.chown(os.path.join(self.directory, name), user.pw_uid, user.pw_gid)
        config = self.write("exim.conf", EXIM.format(
            base=self.directory, user=user.pw_uid, group=user.pw_gid, port=self.port,
            acl=self.acl, acls=self.acls))
        if self.work == "verify":
            self.resolver = self.options.zone.resolv_conf
        self.launch([exim, "-C", config, "-bdf"], {"LD_LIBRARY_PATH": libraries(self.options)})
        self.await_port()

    def stored(self):
        if self.work == "discard":
            return None
        spool = os.path.join(self.directory, "spool", "input")
        return count_files(os.path.join(spool, "*-H"), os.path.join(spool, "?", "*-H"))


class EximDiscard(Exim):
    name = "Exim, discard"
    work = "discard"
    comment = "discard in the DATA ACL: written to the spool file, then dropped"
    acl = "acl_smtp_data = drop_it"
    acls = "drop_it:\n  discard\n"


class EximQueue(Exim):
    name = "Exim, queue"
    work = "store"
    comment = "spool files with fsync, not delivered"


class EximVerify(Exim):
    name = "Exim, DKIM + SPF"
    work = "verify"
    comment = "a message that does not pass is refused; stored, not delivered"
    acl = "acl_smtp_dkim = check_dkim\nacl_smtp_data = check_spf"
    acls = ("check_dkim:\n  accept condition = ${if eq{$dkim_verify_status}{pass}}\n  deny\n"
            "check_spf:\n  accept spf = pass\n  deny\n")


# --- OpenSMTPD ---------------------------------------------------------------------------------

SMTPD = """\
listen on 127.0.0.1 port {port} hostname bench.example no-dsn
action "out" relay
match from any for any action "out"
"""


class OpenSmtpd(Server):
    """Its spool and its socket have fixed places, so it is given a file system view of its own."""

    queue = "fs"

    def start(self):
        need_root()
        smtpd = program("smtpd", self.options)
        need_user("opensmtpd")
        need_user("opensmtpq")
        self.make_directory("/var/tmp")
        self.port = free_port()
        config = self.write("smtpd.conf", SMTPD.format(port=self.port))
        spool = os.path.join(self.directory, "spool")
        os.mkdir(spool, 0o711)
        os.makedirs("/var/spool/smtpd", exist_ok=True)
        script = f'mount --bind {spool} /var/spool/smtpd && exec "$@"'
        self.launch([program("unshare"), "--mount", "sh", "-c", script, "sh", smtpd, "-d",
                     "-f", config, "-P", "mta", "-P", "mda", "-B", f"queue={self.queue}"],
                    {"LD_LIBRARY_PATH": libraries(self.options)})
        self.await_port()

    def stored(self):
        if self.work != "store":
            return None
        messages = os.path.join(self.directory, "spool", "queue", "*", "*", "message")
        return count_files(messages)


class OpenSmtpdNull(OpenSmtpd):
    name = "OpenSMTPD, null queue"
    work = "discard"
    comment = "the message is read and dropped by the queue process"
    queue = "null"


class OpenSmtpdQueue(OpenSmtpd):
    name = "OpenSMTPD, queue"
    work = "store"
    comment = "queue files, without fsync; not delivered"


SERVERS = [OpenSmtpdNull, EximDiscard, PostfixDiscard, EximQueue, OpenSmtpdQueue, PostfixHold,
           EximVerify, PostfixOpenDkim]

