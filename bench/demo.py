#!/usr/bin/env python3
"""The whole story on one screen: domains publish their keys and policies, genuine and spoofed mail
arrives, and every message gets its verdict.

    python3 bench/demo.py [--binary PATH] [--seconds N] [--rate R]

Starts a real name server (knotd) with three domains, `mxring serve` that asks it, and six load
generators: for each domain one that signs with the domain's key and one that only says it is that
domain. Shows a table of verdicts while they run, and at the end what is in the log. Everything
runs on loopback, in a temporary folder, and is gone afterwards. `./run.sh demo` does all of it.

The exit code is 1 when a message did not get what its domain's policy says; what became of it is
then listed below the table.
"""

import argparse
import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

# domain -> its policy
DOMAINS = {"bank.example": "reject", "shop.example": "quarantine", "news.example": "none"}
SELECTOR = "s1"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--binary", default=os.path.join(ROOT, "build", "release", "mxring"))
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=50, help="messages/s of each generator")
    return parser.parse_args()


KINDS = {True: "genuine", False: "spoofed"}


def wanted(domain, signed):
    """Verdict and disposition that a message should get."""
    if signed:
        return "pass", "accept"
    return "fail", {"none": "accept"}.get(DOMAINS[domain], DOMAINS[domain])


def is_policy_refusal(domain, signed, refusal):
    return (not signed and DOMAINS[domain] == "reject" and refusal["code"] == 550
            and refusal["text"].startswith("5.7.26"))


def others_of(results, counts):
    """What became of the messages that did not get what was wanted: lines (who, how many, what).

    `results` has what the load generators say, by (domain, signed); None is one that failed.
    `counts` has the log's records by (domain, verdict, disposition).
    """
    lines = []
    for (domain, signed), result in results.items():
        who = f"{domain}, {KINDS[signed]}"
        if result is None:
            lines.append((who, 0, "the load generator failed"))
            continue
        for refusal in result["rejected"]:
            if not is_policy_refusal(domain, signed, refusal):
                fate = "put off" if refusal["code"] < 500 else "refused"
                lines.append((who, refusal["count"],
                              f"{fate}: {refusal['code']} {refusal['text']}"))
        for loss in result["losses"]:
            lines.append((who, loss["count"], f"not answered: {loss['reason']}"))
    good = {(domain, *wanted(domain, signed)) for domain in DOMAINS for signed in KINDS}
    for key, count in sorted(counts.items(), key=str):
        if key not in good:
            domain, verdict, disposition = key
            lines.append((domain or "no From domain", count,
                          f"other verdicts: dmarc={verdict or 'none'}, {disposition}"))
    return lines


class Demo:
    def __init__(self, arguments, directory):
        self.binary = arguments.binary
        self.seconds = arguments.seconds
        self.rate = arguments.rate
        self.each = arguments.rate * arguments.seconds  # messages of each generator
        self.directory = directory
        self.log = os.path.join(directory, "log")
        self.children = []
        self.name_server = None
        self.counts = collections.Counter()
        self.samples = {}
        self.live = sys.stdout.isatty()

    def mxring(self, *args):
        return subprocess.run([self.binary, *args], check=True, capture_output=True, text=True,
                              cwd=self.directory).stdout

    def start(self, *args, **more):
        child = subprocess.Popen([self.binary, *args], stdin=subprocess.DEVNULL,
                                 cwd=self.directory, text=True, **more)
        self.children.append(child)
        return child

    # Each domain: a key pair, the public half in DNS, SPF that names other hosts, and a policy.
    def publish(self):
        os.environ["MXRING_BINARY"] = self.binary
        import dns_server  # finds mxring through the environment
        zone = ""  # of the top-level domain, which a search for a policy ends at
        for domain, policy in DOMAINS.items():
            key = json.loads(self.mxring("dkim", "keygen", "--domain", domain, "--selector",
                                         SELECTOR, "--json"))
            name = domain.removesuffix(".example")
            zone += (f'{name} TXT "v=spf1 ip4:192.0.2.0/24 -all"\n'
                     f'_dmarc.{name} TXT "v=DMARC1; p={policy}"\n{key["zone_lines"]}')
        self.name_server = dns_server.DnsServer(self.directory, {"example": zone})

    def serve(self):
        configuration = os.path.join(self.directory, "mxring.toml")
        with open(configuration, "w", encoding="ascii") as out:
            out.write(f'hostname = "mx.example.net"\n'
                      f'[listen]\nsmtp = ["127.0.0.1:0"]\nsmtps = []\nadmin = ""\n'
                      f'[log]\ndir = "{self.log}"\n[journal]\nto = ""\n'
                      f'[dns]\nservers = ["{self.name_server.address}"]\n')
        server = self.start("serve", "-c", configuration, stdout=subprocess.PIPE)
        line = server.stdout.readline()
        if not line.startswith("ready "):
            sys.exit(f"demo: the server did not start: {line!r}")
        return dict(word.split("=", 1) for word in line.split()[1:])["smtp"]

    def follow(self):
        tail = self.start("log", "tail", self.log, "--from", "0", "--refused", "--json",
                          stdout=subprocess.PIPE)
        for line in tail.stdout:
            record = json.loads(line)
            dmarc = record["dmarc"] or {}
            key = (dmarc.get("from_domain"), dmarc.get("result"), record["disposition"])
            self.counts[key] += 1
            self.samples.setdefault(record["disposition"], record)

    def send(self, address, domain, signed):
        # Every message is to be answered, however busy the host is: so many connections that a few
        # that wait for DNS hold up nobody, and patience. What is due is sent, late if need be.
        command = ["load", address, "--connections", "16", "--rate", f"{self.rate}/s",
                   "--messages", str(self.each), "--reply-timeout", "120s", "--connect-timeout",
                   "60s", "--size", "2KiB-20KiB", "--mail-from", f"sender%d@{domain}", "--json"]
        if signed:
            command += ["--sign", f"{SELECTOR}.{domain}.pem", "--domain", domain, "--selector",
                        SELECTOR]
        return self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def table(self, final):
        lines = [f"{'From domain':<14} {'its policy':<11} {'genuine: pass':>14} "
                 f"{'spoofed: fail':>14}   what happened to the spoofed"]

        def cell(count):
            return f"{count} of {self.each}" if final and count != self.each else str(count)

        for domain, policy in DOMAINS.items():
            passed = self.counts[(domain, *wanted(domain, True))]
            failed = {disposition: n for (d, result, disposition), n in self.counts.items()
                      if d == domain and result == "fail"}
            fate = {"reject": "refused, 550 5.7.26", "quarantine": "accepted, marked",
                    "accept": "accepted"}
            words = ", ".join(f"{fate[what]}" for what in failed) or "-"
            lines.append(f"{domain:<14} {policy:<11} {cell(passed):>14} "
                         f"{cell(sum(failed.values())):>14}   {words}")
        return lines

    def show(self, again, final=False):
        lines = self.table(final)
        if again:
            print(f"\x1b[{len(lines)}A", end="")
        for line in lines:
            print(f"\x1b[K{line}" if self.live else line)
        sys.stdout.flush()
        return True

    def run(self):
        print(f"Publishing keys and policies of {', '.join(DOMAINS)} on a name server of our own")
        self.publish()
        address = self.serve()
        print(f"mxring receives on {address}, asking {self.name_server.address}; for each domain "
              f"{self.rate} signed\nand {self.rate} spoofed messages a second for "
              f"{self.seconds} s\n")
        threading.Thread(target=self.follow, daemon=True).start()
        loads = {(domain, signed): self.send(address, domain, signed)
                 for domain in DOMAINS for signed in (True, False)}
        shown = False
        while any(load.poll() is None for load in loads.values()):
            time.sleep(0.25)
            if self.live:
                shown = self.show(shown)
        results = {}
        for key, load in loads.items():
            text, complaints = load.communicate()
            results[key] = json.loads(text) if text else None
            if not text:
                print(complaints, end="", file=sys.stderr)
        self.await_records(results)
        self.show(shown, final=True)
        good = self.add_up(results)
        self.summary([r for r in results.values() if r])
        return good

    # What was decided is in the log already; the reader may be behind on a busy host.
    def await_records(self, results):
        decided = sum(r["accepted"] for r in results.values() if r)
        decided += sum(refusal["count"] for key, r in results.items() if r
                       for refusal in r["rejected"] if is_policy_refusal(*key, refusal))
        deadline = time.monotonic() + 60
        while sum(self.counts.values()) < decided and time.monotonic() < deadline:
            time.sleep(0.1)

    def add_up(self, results):
        """Whether every message got what was wanted; says what became of those that did not."""
        others = others_of(results, self.counts)
        if others:
            print("\nWhat happened to the others:\n")
            for who, count, what in others:
                print(f"    {who:<24} {count:>6}  {what}")
        good = sum(min(self.counts[(domain, *wanted(domain, signed))], self.each)
                   for domain in DOMAINS for signed in KINDS)
        missing = len(DOMAINS) * len(KINDS) * self.each - good
        if missing or others:
            print(f"\nThis does not add up: {missing} messages did not get what was expected.")
        return not missing and not others

    def summary(self, results):
        sent = sum(r["sent"] for r in results)
        accepted = sum(r["accepted"] for r in results)
        refused = sum(r["count"] for result in results for r in result["rejected"]
                      if r["code"] >= 500)
        put_off = sum(r["count"] for result in results for r in result["rejected"]) - refused
        lost = sum(r["errors"] for r in results)
        words = f"\n{sent} messages sent, {accepted} accepted, {refused} refused"
        words += f", {put_off} put off" if put_off else ""
        words += f", {lost} not answered" if lost else ""
        slowest = [r["latency_us"]["p99"] for r in results if r["accepted"]]
        print(words + (f"; p99 {max(slowest) / 1000:.1f} ms, durable" if slowest else ""))
        quarantined = self.samples.get("quarantine")
        if quarantined:
            text = self.mxring("log", "cat", self.log, "--from", str(quarantined["offset"]),
                               "--count", "1", "--raw")
            print("\nOne that was marked, as readers get it:\n")
            for line in text.split("\n\n")[0].splitlines()[:8]:
                print(f"    {line}")
        refusal = self.samples.get("reject")
        if refusal:
            print("\nOne that was refused, of which the log keeps the fact and no message "
                  "(mxring log cat --refused):\n")
            text = self.mxring("log", "cat", self.log, "--from", str(refusal["offset"]), "--count",
                               "1", "--refused")
            for line in text.splitlines():
                print(f"    {line}")
        print("\nThe log:\n")
        for line in self.mxring("log", "info", self.log).splitlines():
            print(f"    {line}")

    def clean_up(self):
        """Ends everything; whether the server and the reader ended well."""
        for child in self.children:
            if child.poll() is None:
                child.terminate()
        good = True
        for child in self.children:
            try:
                child.wait(timeout=60)
            except subprocess.TimeoutExpired:
                print(f"demo: {' '.join(child.args[1:3])} did not end and was killed",
                      file=sys.stderr)
                child.kill()
                child.wait()
            # A load generator ends with 1 when all of its mail was refused, as it should be.
            if child.returncode != 0 and child.args[1] != "load":
                print(f"demo: {' '.join(child.args[1:3])} ended with {child.returncode}",
                      file=sys.stderr)
                good = False
        if self.name_server:
            self.name_server.stop()
        return good


def main():
    arguments = parse_arguments()
    arguments.binary = os.path.abspath(arguments.binary)  # it is started in another folder
    if not os.access(arguments.binary, os.X_OK):
        sys.exit(f"demo: {arguments.binary} is not there; build first (./run.sh demo does)")
    if not any(os.access(os.path.join(d, "knotd"), os.X_OK)
               for d in (os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin").split(":")):
        sys.exit("demo: knotd is not installed (apt-get install knot)")
    # Next to the build, not in /tmp: a log is refused on tmpfs.
    base = os.path.dirname(arguments.binary)
    directory = tempfile.mkdtemp(prefix="demo-", dir=base)
    demo = Demo(arguments, directory)
    good = False
    try:
        good = demo.run()
    except KeyboardInterrupt:
        pass
    finally:
        good = demo.clean_up() and good
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
