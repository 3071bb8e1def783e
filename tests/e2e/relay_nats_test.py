"""mxring-relay to NATS JetStream: one server, and three nodes under fire. The streams are read with a
client of a few lines, so that what is in them is told by somebody else."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import time

import mxtest
from mxtest import wait_until
from relay_program import KILLS, RELAY, Relay, RelayCase, offset_of


class Client:
    """Just enough of the NATS protocol: request and reply."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.buffer = b""
        self.line()
        self.socket.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n'
                            b"SUB _INBOX.t.* 1\r\n")

    def close(self):
        self.socket.close()

    def fill(self):
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("closed")
        self.buffer += chunk

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode()

    def take(self, count):
        while len(self.buffer) < count + 2:
            self.fill()
        out, self.buffer = self.buffer[:count], self.buffer[count + 2:]
        return out

    def request(self, subject, payload=b"", headers=None):
        """(headers as bytes, payload) of the answer."""
        if headers:
            head = ("NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) +
                    "\r\n").encode()
            self.socket.sendall(f"HPUB {subject} _INBOX.t.1 {len(head)} "
                                f"{len(head) + len(payload)}\r\n".encode() + head + payload +
                                b"\r\n")
        else:
            self.socket.sendall(f"PUB {subject} _INBOX.t.1 {len(payload)}\r\n".encode() + payload +
                                b"\r\n")
        while True:
            words = self.line().split(" ")
            if words[0] == "PING":
                self.socket.sendall(b"PONG\r\n")
            elif words[0] == "MSG":
                return b"", self.take(int(words[-1]))
            elif words[0] == "HMSG":
                whole = self.take(int(words[-1]))
                return whole[:int(words[-2])], whole[int(words[-2]):]
            elif words[0] == "-ERR":
                raise ConnectionError(" ".join(words))

    def api(self, call, body=None):
        _, answer = self.request("$JS.API." + call, json.dumps(body).encode() if body else b"")
        return json.loads(answer)


class Nodes:
    """nats-server, one or three of them on loopback."""

    def __init__(self, test, count=1, extra=""):
        self.test = test
        self.program = test.need("nats-server")
        self.ports = [mxtest.free_port() for _ in range(count)]
        routes = [mxtest.free_port() for _ in range(count)]
        self.processes = [None] * count
        for i in range(count):
            cluster = "" if count == 1 else (
                f"cluster {{ name: c, listen: 127.0.0.1:{routes[i]}, routes: ["
                + ", ".join(f"nats://127.0.0.1:{r}" for r in routes) + "] }\n")
            with open(self.file(i, "conf"), "w") as out:
                out.write(f"server_name: n{i}\nlisten: 127.0.0.1:{self.ports[i]}\n"
                          f"jetstream {{ store_dir: \"{self.file(i, 'store')}\" }}\n"
                          f"{cluster}{extra}")
            self.start(i)
        test.addCleanup(self.stop)
        wait_until(self.healthy, 30, "the nodes answer")

    def file(self, i, name):
        return os.path.join(self.test.directory, f"node{i}.{name}")

    def start(self, i):
        with open(self.file(i, "log"), "ab") as log:
            self.processes[i] = subprocess.Popen([self.program, "-c", self.file(i, "conf")],
                                                 stdout=log, stderr=log)

    def kill(self, i):
        self.processes[i].send_signal(signal.SIGCONT)
        self.processes[i].kill()
        self.processes[i].wait()

    def stop(self):
        for i, process in enumerate(self.processes):
            if process is not None and process.poll() is None:
                self.kill(i)

    def servers(self):
        return [f"nats://127.0.0.1:{port}" for port in self.ports]

    def ask(self, call, body=None):
        """From whichever node answers; None while there is none."""
        for port in self.ports:
            try:
                client = Client(port)
                try:
                    answer = client.api(call, body)
                finally:
                    client.close()
                if "error" not in answer or answer["error"].get("code") != 503:
                    return answer
            except (OSError, ValueError):
                continue
        return None

    def healthy(self):
        answer = self.ask("INFO")
        return answer is not None and "error" not in answer

    def stream(self, name="MAIL"):
        answer = self.ask("STREAM.INFO." + name)
        return None if answer is None or "error" in answer else answer

    def leader(self, name="MAIL"):
        info = self.stream(name)
        leader = (info or {}).get("cluster", {}).get("leader")
        return int(leader[1:]) if leader else None

    def ids(self, name="MAIL"):
        """The offsets in the stream, in its order."""
        info = wait_until(lambda: self.stream(name), 30, "the stream answers")
        found = []
        for port in self.ports:
            try:
                client = Client(port)
            except OSError:
                continue
            try:
                for seq in range(info["state"]["first_seq"], info["state"]["last_seq"] + 1):
                    answer = client.api("STREAM.MSG.GET." + name, {"seq": seq})
                    if "message" in answer:
                        import base64
                        head = base64.b64decode(answer["message"].get("hdrs", "")).decode()
                        found.append(offset_of(re.search(r"Nats-Msg-Id:\s*(\S+)", head)[1]))
                return found
            except OSError:
                found = []
            finally:
                client.close()
        raise AssertionError("no node answers")


class NatsCase(RelayCase):
    def setUp(self):
        super().setUp()
        version = subprocess.run([RELAY, "--version"], capture_output=True, text=True).stdout
        if "nats (" not in version or "not built in: nats" in version:
            self.skipTest("libnats was missing when mxring-relay was built")

    def nats(self, nodes, top=None, **more):
        return self.config(nats={"servers": nodes.servers(), "stream": "MAIL", **more},
                           top=top or {})

    def expect_all(self, nodes, count):
        self.assertEqual(nodes.ids(), list(range(count)), "every record once and in order")


class Single(NatsCase):
    def test_records_arrive_in_order_with_their_ids(self):
        nodes = Nodes(self)
        self.send(50)
        relay = Relay(self, self.nats(nodes))
        self.committed(50)
        self.send(10)
        self.committed(60)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.expect_all(nodes, 60)

    def test_killed_at_random_moments(self):
        nodes = Nodes(self)
        records = 200 if KILLS < 20 else 3000
        self.send(records)
        luck = random.Random(3)
        relay = Relay(self, self.nats(nodes), start=False)
        for _ in range(KILLS):
            relay.start(wait=False)
            time.sleep(luck.uniform(0.03, 0.2))
            relay.kill()
        relay.start()
        self.committed(records, 60)
        self.assertEqual(relay.stop(), 0)
        self.expect_all(nodes, records)
        print(f"nats: {KILLS} kills, {records} records, missing 0, repeated 0, in order")

    def test_a_stream_made_anew_is_filled_again(self):
        nodes = Nodes(self)
        self.send(20)
        relay = Relay(self, self.nats(nodes))
        self.committed(20)
        self.assertTrue(nodes.ask("STREAM.DELETE.MAIL")["success"])
        self.send(5)
        self.committed(25)
        wait_until(lambda: (nodes.stream() or {"state": {"messages": 0}})["state"]["messages"] == 25,
                   20, "the stream is full again")
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.expect_all(nodes, 25)
        # The same while no relay runs.
        self.assertTrue(nodes.ask("STREAM.DELETE.MAIL")["success"])
        relay.start()
        wait_until(lambda: (nodes.stream() or {"state": {"messages": 0}})["state"]["messages"] == 25,
                   20, "the stream is full again")
        self.assertEqual(relay.stop(), 0)
        self.expect_all(nodes, 25)

    def test_a_purge_is_consumption(self):
        nodes = Nodes(self)
        self.send(20)
        relay = Relay(self, self.nats(nodes))
        self.committed(20)
        self.assertTrue(nodes.ask("STREAM.PURGE.MAIL")["success"])
        self.send(5)
        self.committed(25)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.assertEqual(nodes.ids(), [20, 21, 22, 23, 24])
        self.assertTrue(nodes.ask("STREAM.PURGE.MAIL")["success"])
        relay.start()
        self.send(2)
        self.committed(27)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.assertEqual(nodes.ids(), [25, 26])

    def test_a_second_publisher_is_noticed(self):
        nodes = Nodes(self)
        self.send(5)
        relay = Relay(self, self.nats(nodes))
        self.committed(5)
        client = Client(nodes.ports[0])
        client.request("MAIL", b"hello", {"Nats-Msg-Id": "mine"})
        client.close()
        self.send(1)
        wait_until(lambda: "another publisher" in relay.stderr(), 20, "it is said")
        self.assertEqual(self.group()["state"], "retrying")
        self.assertEqual(self.group()["current"], 5)
        self.assertEqual(relay.stop(), 0)

    def test_what_is_too_large_is_claimed_or_a_dead_letter(self):
        nodes = Nodes(self, extra="max_payload: 8192\n")
        self.send(1)
        self.send(1, size=20000)
        self.send(1)
        config = self.nats(nodes)
        config["claim"] = {"url": "https://mx.test"}
        relay = Relay(self, config)
        self.committed(3)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.expect_all(nodes, 3)
        self.assertEqual(self.group()["dead"], 0)
        relay.configure(self.nats(nodes))
        relay.start()
        self.send(1, size=20000)
        self.send(1)
        self.committed(5)
        self.assertEqual(relay.stop(), 0)
        self.assertEqual(self.group()["dead"], 1)
        self.assertEqual(nodes.ids(), [0, 1, 2, 4])

    def test_a_group_moved_by_hand_publishes_again(self):
        nodes = Nodes(self)
        self.send(5)
        relay = Relay(self, self.nats(nodes))
        self.committed(5)
        self.assertEqual(relay.stop(), 0)
        info = nodes.ask("STREAM.INFO.MAIL")
        config = dict(info["config"], duplicate_window=100_000_000)
        self.assertNotIn("error", nodes.ask("STREAM.UPDATE.MAIL", config))
        time.sleep(0.5)
        self.groups("reset", "--to-offset", "2", "--execute")
        relay.start()
        self.committed(5)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.assertEqual(nodes.ids(), [0, 1, 2, 3, 4, 2, 3, 4])

    def test_a_server_that_has_forgotten_the_last_id(self):
        """Started again after the window for duplicates is over it does not know it any more, and
        neither may a new leader: the sequence vouches for the same."""
        nodes = Nodes(self)
        self.send(3)
        relay = Relay(self, self.nats(nodes))
        self.committed(3)
        config = dict(nodes.ask("STREAM.INFO.MAIL")["config"], duplicate_window=100_000_000)
        self.assertNotIn("error", nodes.ask("STREAM.UPDATE.MAIL", config))
        nodes.kill(0)
        time.sleep(0.5)
        nodes.start(0)
        self.send(4)
        self.committed(7, 30)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.assertIn("wrong last msg ID", relay.stderr())  # or nothing of this was tried
        self.expect_all(nodes, 7)

    def test_the_log_is_held_for_a_while_after_the_acknowledgement(self):
        nodes = Nodes(self)
        self.send(5)
        relay = Relay(self, self.nats(nodes, hold_after_ack="3s"))
        wait_until(lambda: (nodes.stream() or {"state": {"messages": 0}})["state"]["messages"] == 5,
                   10, "the stream has them")
        self.assertEqual(self.group()["current"], 0)
        self.committed(5)
        self.assertEqual(relay.stop(), 0)
        self.expect_all(nodes, 5)


class Cluster(NatsCase):
    def test_leader_killed_stopped_two_of_three_and_all(self):
        nodes = Nodes(self, 3)
        self.send(50)
        relay = Relay(self, self.nats(nodes, replicas=3))
        self.committed(50, 40)
        count = 50

        def more():
            nonlocal count
            self.send(40)
            count += 40

        def leader_now():
            return wait_until(lambda: nodes.leader() is not None and [nodes.leader()], 30,
                              "there is a leader")[0]

        leader = leader_now()
        nodes.kill(leader)
        more()
        self.committed(count, 100)
        nodes.start(leader)
        leader = leader_now()
        nodes.processes[leader].send_signal(signal.SIGSTOP)
        more()
        self.committed(count, 100)
        nodes.processes[leader].send_signal(signal.SIGCONT)
        for i in (0, 1):
            nodes.kill(i)
        more()
        for i in (0, 1):
            nodes.start(i)
        self.committed(count, 100)
        for i in range(3):
            nodes.kill(i)
        more()
        for i in range(3):
            nodes.start(i)
        self.committed(count, 90)
        self.assertEqual(relay.stop(), 0, relay.stderr())
        self.expect_all(nodes, count)


if __name__ == "__main__":
    mxtest.main()
