#!/usr/bin/env python3
"""Fetches the programs mxring is compared with, into a folder of their own.

Debian's mail servers exclude each other as packages, and installing one may start it. So their
packages are only unpacked, with the libraries this machine lacks, and nothing is installed:

  bench/peers.py [--into build/peers] [--users]

With --users the users that Exim and OpenSMTPD change to are made; without them these two are not
run. Debian packages go to INTO/root, npm's to INTO/node. What cannot be had is said, and is no
error: bench/compare lists it as not run. Uses apt-get download and npm; standard library only.
"""

import argparse
import datetime
import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

DEBIAN = ["exim4-daemon-heavy", "exim4-base", "opensmtpd", "python3-aiosmtpd", "opendkim", "knot"]
NODE = ["smtp-server", "mailauth", "Haraka", "haraka-plugin-dkim", "haraka-plugin-spf"]
# A registry that holds back what is new may lack what the newest release asks for; then what was
# there so many days ago is tried.
OLDER_DAYS = (75, 165, 180)
USERS = ["Debian-exim", "opensmtpd", "opensmtpq"]


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def installed(package):
    status = run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package])
    return status.returncode == 0 and status.stdout.strip() == "installed"


def needed_by(package):
    """The libraries and modules a package depends on, first alternatives only."""
    found = []
    alternative = False
    for line in run(["apt-cache", "depends", "--no-recommends", "--no-suggests",
                     "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances",
                     package]).stdout.splitlines():
        match = re.match(r"\s*(\|?)(?:Pre)?Depends: ([a-z0-9.+-]+)", line)
        if match and not alternative and match[2].startswith(("lib", "python3-", "exim4-base")):
            found.append(match[2])
        alternative = bool(match and match[1])
    return found


def missing_packages(wanted):
    """The wanted packages and, in turn, what they need and this machine lacks."""
    result, queue = [], list(wanted)
    while queue:
        package = queue.pop(0)
        if package in result or installed(package):
            continue
        result.append(package)
        queue.extend(needed_by(package))
    return result


def fetch_debian(into, say):
    for tool in ("apt-get", "apt-cache", "dpkg"):
        if shutil.which(tool) is None:
            say(f"no {tool} here: {', '.join(DEBIAN)} are not fetched")
            return
    downloads = os.path.join(into, "deb")
    tree = os.path.join(into, "root")
    os.makedirs(downloads, exist_ok=True)
    os.makedirs(tree, exist_ok=True)
    for package in missing_packages(DEBIAN):
        if glob.glob(os.path.join(downloads, f"{package}_*.deb")):
            continue
        # apt's own user may not write below a home folder; as root it then says so and goes on.
        done = run(["apt-get", "-q", "download", package], cwd=downloads)
        files = glob.glob(os.path.join(downloads, f"{package}_*.deb"))
        if done.returncode != 0 or not files:
            say(f"{package}: {(done.stderr.strip().splitlines() or ['not to be had'])[-1]}")
            continue
        unpacked = run(["dpkg", "-x", files[0], tree])
        say(f"{package}: {'unpacked' if unpacked.returncode == 0 else unpacked.stderr.strip()}")


def fetch_node(into, say):
    if shutil.which("npm") is None:
        say(f"no npm here: {', '.join(NODE)} are not fetched")
        return
    for package in NODE:
        # A folder for each: releases of one day need not agree with those of another.
        tree = os.path.join(into, "node", package)
        if os.path.isdir(os.path.join(tree, "node_modules", package)):
            continue
        os.makedirs(tree, exist_ok=True)
        command = ["npm", "install", "--prefix", tree, "--no-audit", "--no-fund", "--omit=dev",
                   "--omit=optional"]
        done = run([*command, package], timeout=600)
        for days in OLDER_DAYS:
            if done.returncode == 0:
                break
            day = datetime.date.today() - datetime.timedelta(days=days)
            done = run([*command, "--before", day.isoformat(), package], timeout=600)
        if done.returncode == 0:
            say(f"{package}: installed")
        else:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            say(f"{package}: {lines[-1] if lines else 'npm failed'}")


def make_users(say):
    for user in USERS:
        if run(["getent", "passwd", user]).returncode == 0:
            continue
        done = run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin",
                    user])
        say(f"user {user}: {'made' if done.returncode == 0 else done.stderr.strip()}; undo: "
            f"userdel {user}")
    # OpenSMTPD's processes look at an empty folder only.
    os.makedirs("/var/lib/opensmtpd/empty", exist_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", default=os.path.join(ROOT, "build", "peers"))
    parser.add_argument("--users", action="store_true", help="make the users they change to")
    options = parser.parse_args()
    into = os.path.abspath(options.into)

    def say(text):
        print(f"peers: {text}", file=sys.stderr, flush=True)

    fetch_debian(into, say)
    fetch_node(into, say)
    if options.users:
        make_users(say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
