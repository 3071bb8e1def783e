"""Several receivers feed one JetStream, a stream each; one client reads a consumer of each. What
`mxring load` was told is stored must be there, whoever is killed meanwhile."""

import base64
import json
import os
import random
import re
import socket
import subprocess
import time

import mxtest
from log_serve_program import LogServe
from mxtest import BINARY, Log, wait_until
from relay_nats_test import Client, NatsCase, Nodes
from relay_program import KILLS, Relay, check


class Reader:
    """One client that reads a consumer of every stream, in turn."""

    def __init__(self, port, streams):
        self.client = Client(port)
        self.offsets = {name: [] for name in streams}
        for name in streams:
            made = self.client.api(f"CONSUMER.DURABLE.CREATE.{name}.reader",
                                   {"stream_name": name,
                                    "config": {"durable_name": "reader", "ack_policy": "none",
                                               "deliver_policy": "all"}})
            if "error" in made:
                raise AssertionError(made)

    def read(self, wanted, seconds):
        """Until each stream has given what is wanted of it."""
        end = time.monotonic() + seconds
        while any(len(self.offsets[name]) < count for name, count in wanted.items()):
            if time.monotonic() > end:
                raise AssertionError({name: len(got) for name, got in self.offsets.items()})
            for name in wanted:
                head, _ = self.client.request(
                    f"$JS.API.CONSUMER.MSG.NEXT.{name}.reader",
                    json.dumps({"batch": 1, "expires": 200_000_000}).encode())
                found = re.search(rb"Nats-Msg-Id:\s*[0-9a-f]{32}_(\d+)", head)
                if found:
                    self.offsets[name].append(int(found[1]))
        self.client.close()


def steady_port():
    """A free port that the kernel gives to no outgoing connection: one that clients go on asking for
    while nobody listens could else become the client's own, and be taken when the receiver is back."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as text:
        lowest = int(text.read().split()[0])
    for port in random.sample(range(max(1025, lowest - 20000), max(1200, lowest)), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


class Receivers(NatsCase):
    def receiver(self, name):
        port = steady_port()
        folder = os.path.join(self.directory, name)
        os.makedirs(folder)
        server = mxtest.Server(folder, {**self.CONFIG, "listen": {"smtp": [f"127.0.0.1:{port}"]}},
                               start=False)
        self.servers.append(server)
        return server.start()

    def load(self, server, name, messages):
        file = os.path.join(self.directory, name + ".acknowledged")
        process = subprocess.Popen(
            [BINARY, "load", f"127.0.0.1:{server.port}", "--messages", str(messages), "--rate",
             "400/s", "--connections", "8", "--size", "2000", "--reply-timeout", "20s",
             "--acknowledged", file, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def acknowledged():
            out, err = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, err.decode())
            with open(file) as lines:
                offsets = [int(line) for line in lines]
            self.assertEqual(json.loads(out)["accepted"], len(offsets))
            return offsets

        self.addCleanup(lambda: process.poll() is None and process.kill())
        return acknowledged

    def test_two_receivers_one_of_them_killed(self):
        nodes = Nodes(self)
        names = ["ONE", "TWO"]
        servers = {name: self.receiver(name) for name in names}
        relays = {}
        for name in names:
            config = self.nats(nodes, stream=name)
            config[""]["log"] = servers[name].log_dir
            relays[name] = Relay(self, config, name=name)
        wait_until(lambda: all(nodes.stream(name) for name in names), 20, "both streams are made")
        messages = 500 if KILLS < 20 else 8000
        loads = {name: self.load(servers[name], name, messages) for name in names}
        # The sessions stand; a load that finds nobody at its start does not begin.
        for name in names:
            wait_until(lambda: Log(servers[name].log_dir).info()["records"] > 20, 60,
                       "mail comes in")
        luck = random.Random(21)
        kills = 2 if KILLS < 20 else 10
        for _ in range(kills):
            time.sleep(luck.uniform(0.2, 0.6))
            servers["ONE"].kill()
            relays["TWO"].kill()
            servers["ONE"].start()
            relays["TWO"].start()
        told = {name: loads[name]() for name in names}
        stored = {}
        for name in names:
            # Stored and never told of is in the log as well.
            stored[name] = [r["offset"] for r in Log(servers[name].log_dir).records()]
            self.assertLessEqual(set(told[name]), set(stored[name]))
            self.assertGreater(len(told[name]), messages // 2)
            self.assertEqual(len(set(told[name])), len(told[name]), "no offset was told twice")
        reader = Reader(nodes.ports[0], names)
        reader.read({name: len(stored[name]) for name in names}, 60)
        for name in names:
            self.assertEqual(reader.offsets[name], stored[name], "each once, in order")
            self.assertEqual(relays[name].stop(), 0, relays[name].stderr())
            print(f"nats: stream {name}: {len(told[name])} acknowledged to load, "
                  f"{len(stored[name])} in the log, {len(reader.offsets[name])} read, missing 0, "
                  f"repeated 0, in order")

    def test_an_outage_gives_up_no_record(self):
        """give_up_after is for what a sink refuses again and again; a stream that is away is waited
        for, and -t says so."""
        nodes = Nodes(self)
        config = self.nats(nodes)
        config["retry"]["give_up_after"] = "200ms"
        code, _, said = check(self, config)
        self.assertEqual(code, 0)
        self.assertIn("retry.give_up_after does nothing for [nats]", said)
        relay = Relay(self, config)
        self.send(1)
        self.committed(1)
        nodes.kill(0)
        self.send(3)
        wait_until(lambda: self.group()["state"] == "retrying", 20, "it is tried again")
        time.sleep(1)
        self.assertEqual((self.group()["dead"], self.group()["current"]), (0, 1))
        nodes.start(0)
        self.committed(4, 40)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.assertEqual(self.group()["dead"], 0)
        self.expect_all(nodes, 4)


class Claims(NatsCase):
    def test_a_body_is_fetched_by_its_claim(self):
        """A message larger than max_payload: the event names where `mxring log serve` has it."""
        nodes = Nodes(self, extra="max_payload: 8192\n")
        serve = LogServe(self, self.server.log_dir)
        self.send(1)
        self.send(1, size=200_000)
        self.send(1)
        log = Log(self.server.log_dir)
        for payload in ("full", "thin", "raw"):
            config = self.nats(nodes, payload=payload, stream=payload.upper())
            config[""]["group"] = payload
            config["claim"] = {"url": f"http://{serve.address}"}
            relay = Relay(self, config, name=payload)
            wait_until(lambda: self.group(payload)["current"] == 3, 20, "all three are there")
            self.assertEqual(relay.stop(), 0, relay.stderr())
            self.assertEqual(self.group(payload)["dead"], 0)
            self.assertEqual(nodes.ids(payload.upper()), [0, 1, 2])
            message = nodes.ask(f"STREAM.MSG.GET.{payload.upper()}", {"seq": 2})["message"]
            head = base64.b64decode(message["hdrs"]).decode()
            data = json.loads(base64.b64decode(message["data"]))["data"]
            url = data["claim"]["url"]
            self.assertEqual(data["id"], log.records("--from", 1)[0]["id"])
            if payload != "thin":  # which always names it
                self.assertIn(f"Mx-Claim: {url}", head)
            status, _, body = serve.ask(url)
            self.assertEqual((status, body), (200, log.delivered(1)))
            # In pieces, as a client would that was cut off.
            _, _, rest = serve.ask(url, {"Range": "bytes=150000-"})
            self.assertEqual(rest, log.delivered(1)[150000:])


if __name__ == "__main__":
    mxtest.main()
