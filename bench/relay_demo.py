"""Mail on its way, live: a receiver, relays, a web receiver of a few lines, and three JetStream nodes.

Bounces and complaints go in over SMTP; typed events come out on the screen. Then the stream's leader is
killed while mail goes on, and in the end every offset is looked for in both places.

  relay_demo.py --binary build/release/mxring [--mail N]
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))


def bounce(n):
    return (f"From: MAILER-DAEMON@mail.far.test\r\nTo: list+{n}@mx.test\r\n"
            f"Subject: Undelivered mail {n}\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
            "--b\r\n\r\nThe message could not be delivered.\r\n"
            "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
            "Reporting-MTA: dns; mail.far.test\r\n\r\n"
            f"Final-Recipient: rfc822; reader{n}@far.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
            "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n--b--\r\n").encode()


def complaint(n):
    return (f"From: fbl@far.test\r\nTo: abuse@mx.test\r\nSubject: complaint {n}\r\n"
            "MIME-Version: 1.0\r\n"
            "Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n"
            "--b\r\n\r\nThis is spam.\r\n"
            "--b\r\nContent-Type: message/feedback-report\r\n\r\n"
            "Feedback-Type: abuse\r\nUser-Agent: far/1\r\nVersion: 1\r\n"
            f"Original-Rcpt-To: reader{n}@far.test\r\n\r\n--b--\r\n").encode()


class Stage:
    """What the parts of the tests want of a test."""

    def __init__(self, directory):
        self.directory = directory
        self.endings = []

    def addCleanup(self, function, *args, **more):
        self.endings.append(lambda: function(*args, **more))

    def need(self, name, *places):
        import mxtest
        return mxtest.find_program(name, *places)

    def end(self):
        for ending in reversed(self.endings):
            try:
                ending()
            except (OSError, ValueError):
                pass


def show(request):
    import json
    event = json.loads(request["body"])
    data = event["data"]
    if event["type"] == "mail.bounce":
        (recipient, *_) = data["bounce"]["recipients"]
        what = f"{recipient['final_recipient']} {recipient['status']} {recipient['action']}"
    elif event["type"] == "mail.complaint":
        what = f"{data['complaint']['feedback_type']} from {data['complaint']['user_agent']}"
    else:
        what = data["subject"]
    print(f"  {event['type']:16} offset {data['offset']:4}  {what}", flush=True)


def run(arguments, stage):
    import mxtest
    import relay_nats_test
    from relay_program import Hook, Relay

    say = lambda text: print(f"\n{text}", flush=True)
    server = mxtest.Server(stage.directory)
    stage.addCleanup(server.kill)
    sent = 0

    def send(make, count):
        nonlocal sent
        with mxtest.Wire(server.address) as wire:
            wire.hello()
            for _ in range(count):
                answer = wire.message(make(sent), sender="")
                assert answer.startswith("250"), answer
                sent += 1

    seen = []

    def script(request, number):
        if number < arguments.shown:
            show(request)
        seen.append(request["headers"]["webhook-id"])
        return 200

    hook = Hook(stage, script)
    say(f"receiver on port {server.port}, a web receiver on port {hook.port}, a relay between them")
    Relay(stage, {"": {"group": "web", "log": server.log_dir},
                  "webhook": {"url": hook.url, "allow_private": True}}, name="web")
    send(bounce, 3)
    send(complaint, 2)
    mxtest.wait_until(lambda: len(seen) >= sent, 20, "the events arrive")
    nodes = None
    if stage.need("nats-server"):
        nodes = relay_nats_test.Nodes(stage, 3)
        say("three JetStream nodes, and a relay that fills a stream with three replicas")
        Relay(stage, {"": {"group": "stream", "log": server.log_dir},
                      "nats": {"servers": nodes.servers(), "stream": "MAIL", "replicas": 3}},
              name="stream")
        mxtest.wait_until(lambda: (nodes.stream() or {"state": {"messages": 0}})["state"]["messages"]
                          >= sent, 40, "the stream has them")
        send(lambda n: mxtest.sample_message(400, f"m{n}"), arguments.mail // 2)
        leader = nodes.leader()
        nodes.kill(leader)
        say(f"node {leader}, the stream's leader, is killed; mail goes on")
        send(lambda n: mxtest.sample_message(400, f"m{n}"), arguments.mail // 2)
        start = time.monotonic()
        mxtest.wait_until(lambda: (nodes.stream() or {"state": {"messages": 0}})["state"]["messages"]
                          >= sent, 60, "the stream has everything")
        print(f"  the stream caught up after {time.monotonic() - start:.1f} s")
    else:
        say("nats-server is not installed (Debian: nats-server): no stream")
    mxtest.wait_until(lambda: len(set(seen)) >= sent, 30, "the web receiver has everything")
    say(f"acknowledged by the receiver: {sent}")
    print(f"  posted: {len(set(seen))}, missing {sent - len(set(seen))}")
    if nodes:
        ids = nodes.ids()
        missing = sorted(set(range(sent)) - set(ids))
        print(f"  in the stream: {len(ids)}, missing {len(missing)}, "
              f"in order: {'yes' if ids == sorted(ids) else 'no'}")
        if missing or ids != sorted(ids):
            return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--mail", type=int, default=200, help="messages around the kill")
    parser.add_argument("--shown", type=int, default=5, help="events on the screen")
    arguments = parser.parse_args()
    os.environ["MXRING_BINARY"] = os.path.abspath(arguments.binary)
    scratch = os.path.join(os.path.dirname(os.environ["MXRING_BINARY"]), "relay-demo")
    os.makedirs(scratch, exist_ok=True)
    stage = Stage(tempfile.mkdtemp(dir=scratch))
    try:
        return run(arguments, stage)
    finally:
        stage.end()
        shutil.rmtree(stage.directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
