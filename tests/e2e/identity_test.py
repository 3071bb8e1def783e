"""Whom a connection speaks for: PROXY headers of balancers and XCLIENT of proxies."""

import json
import os
import selectors
import socket
import ssl
import struct
import time

import haproxy
import mxtest
from mxtest import Log, Wire

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(client="192.0.2.7", port=4000, family="TCP4", destination="192.0.2.25"):
    return f"PROXY {family} {client} {destination} {port} 25\r\n".encode()


def v2(client="192.0.2.7", port=4000, command=0x21, vectors=b""):
    version = socket.AF_INET6 if ":" in client else socket.AF_INET
    pair = socket.inet_pton(version, client) * 2
    body = pair + struct.pack(">HH", port, 25) + vectors
    family = 0x21 if version == socket.AF_INET6 else 0x11
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


class IdentityCase(mxtest.TestCase):
    def start(self, **sections):
        sections.setdefault("listen", {"proxy": ["127.0.0.1"]})
        journal = os.path.join(self.directory, "journal")
        sections.setdefault("journal", {"to": journal})
        self.server = self.serve(sections)
        self.log = Log(self.server.log_dir)

    def smtps(self):
        host, port = self.server.ready["smtps"].rsplit(":", 1)
        return (host, int(port))

    def journal(self):
        with open(os.path.join(self.directory, "journal"), encoding="utf-8") as lines:
            return [line for line in map(json.loads, lines) if line["client"]]

    def from_client(self, header, address=None):
        """A connection that begins with these bytes, before its banner."""
        wire = Wire(address or self.server.address, greet=False)
        self.addCleanup(wire.close)
        wire.send(header)
        return wire

    def deliver(self, wire, sender="a@client.test"):
        self.assertRegex(wire.reply(), "^220 mx.test ESMTP")
        self.assertRegex(wire.hello(), "^250")
        self.assertRegex(wire.message(b"From: a@client.test\r\n\r\nx\r\n", sender), "^250 2.0.0 Ok")

    def client_of_last(self):
        return self.log.records()[-1]["client"]


class Proxy(IdentityCase):
    def test_the_client_is_the_one_that_the_header_names(self):
        self.start()
        extras = (b"\x01\x00\x05smtp\0" + b"\x20\x00\x05\x01\0\0\0\0" + b"\x04\x00\x02\0\0")
        for header, ip, port, protocol in [
                (v1(), "192.0.2.7", 4000, "proxy-v1"),
                (v1("2001:db8::7", 65535, "TCP6", "2001:db8::25"), "2001:db8::7", 65535,
                 "proxy-v1"),
                (v2(), "192.0.2.7", 4000, "proxy-v2"),
                (v2("2001:db8::9", 1, vectors=extras), "2001:db8::9", 1, "proxy-v2")]:
            wire = self.from_client(header)
            own_port = wire.socket.getsockname()[1]
            self.deliver(wire)
            client = self.client_of_last()
            self.assertEqual((client["ip"], client["port"]), (ip, port))
            self.assertEqual(client["via"],
                             {"ip": "127.0.0.1", "port": own_port, "protocol": protocol})
            received = self.log.delivered(self.log.records()[-1]["offset"])
            literal = f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"
            self.assertIn(f"Received: from client.test ({literal})".encode(), received)
        self.assertEqual(self.server.stop(), 0)

    def test_header_cut_anywhere(self):
        """One byte in each segment; and the header, with what comes after it, in one."""
        self.start()
        for header in (v1(), v2(vectors=b"\x04\x00\x02\0\0")):
            wire = self.from_client(b"")
            for at in range(len(header)):
                wire.send(header[at:at + 1])
                time.sleep(0.002)
            self.deliver(wire)
            self.assertEqual(self.client_of_last()["ip"], "192.0.2.7")
            early = self.from_client(header + b"EHLO client.test\r\n")
            self.assertRegex(early.reply(), "^554 5.5.0", "it did not wait for the banner")
        self.assertEqual(self.server.stop(), 0)

    def test_before_tls(self):
        """On a listener for TLS the header comes first, in the clear, be it in one segment."""
        self.start(listen={"smtps": ["127.0.0.1:0"], "proxy": ["127.0.0.1"]})
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for header in (v1(), v2()):
            for apart in (False, True):
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = context.wrap_bio(incoming, outgoing)
                plain = socket.create_connection(self.smtps(), timeout=20)
                self.addCleanup(plain.close)
                if apart:
                    plain.sendall(header)
                    time.sleep(0.05)
                    header = b""
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        plain.sendall(header + outgoing.read())
                        header = b""
                        incoming.write(plain.recv(65536))
                plain.sendall(outgoing.read())

                def heard():
                    while True:
                        try:
                            return tls.read(65536)
                        except ssl.SSLWantReadError:
                            incoming.write(plain.recv(65536))

                def ask(line):
                    tls.write(line)
                    plain.sendall(outgoing.read())
                    return heard()

                self.assertRegex(heard(), b"^220 ")
                for line in (b"EHLO c.test\r\n", b"MAIL FROM:<a@b.test>\r\n",
                             b"RCPT TO:<b@mx.test>\r\n"):
                    self.assertRegex(ask(line), b"^250")
                self.assertRegex(ask(b"DATA\r\n"), b"^354")
                self.assertRegex(ask(b"From: a@b.test\r\n\r\nx\r\n.\r\n"), b"^250")
                record = self.log.records()[-1]
                self.assertEqual(record["client"]["ip"], "192.0.2.7")
                self.assertEqual(record["protocol"], "ESMTPS")
                header = v1()
        self.assertEqual(self.server.stop(), 0)

    def test_local_and_unknown_mean_the_balancer(self):
        self.start()
        for header in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n",
                       v2(command=0x20), SIGNATURE + b"\x20\0\0\0",
                       SIGNATURE + b"\x21\0\0\x03abc"):
            self.deliver(self.from_client(header))
            client = self.client_of_last()
            self.assertEqual((client["ip"], client["via"]), ("127.0.0.1", None))
        self.assertEqual(self.server.stop(), 0)

    def test_anything_else_from_a_balancer(self):
        self.start(listen={"smtps": ["127.0.0.1:0"], "proxy": ["127.0.0.0/8"]},
                   limits={"proxy_header": "400ms"})
        bad = [b"EHLO client.test\r\n", b"PROXY TCP4 192.0.2.7\r\n", b"GET / HTTP/1.1\r\n\r\n",
               SIGNATURE + b"\x31\x11\0\x0c", v1().replace(b"4000", b"70000"), b"\x16\x03\x01\0"]
        for address in (self.server.address, self.smtps()):
            for header in bad:
                wire = self.from_client(header, address)
                self.assertRegex(wire.reply(), "^421 4.3.0 No PROXY header where listen.proxy")
                self.assertTrue(wire.at_end())
        # Nothing at all, and a header that does not come to its end.
        for header in (b"", v1()[:20], v2()[:20]):
            begun = time.monotonic()
            wire = self.from_client(header)
            self.assertRegex(wire.reply(), "^421 4.3.0 .*: none came in time$")
            self.assertGreater(time.monotonic() - begun, 0.3)
        wire = self.from_client(v1()[:20])
        wire.socket.shutdown(socket.SHUT_WR)
        self.assertRegex(wire.reply(), "^421 4.3.0 .*: it ends in the middle$")
        # A look whether the port is open is no mistake.
        self.from_client(b"").close()
        expected = 2 * len(bad) + 3 + 1
        lines = mxtest.wait_until(lambda: (j := self.journal()) and len(j) >= expected and j, 10,
                                  "each has its line")
        time.sleep(0.2)
        lines = self.journal()
        self.assertEqual(len(lines), expected)
        for line in lines:
            self.assertEqual((line["event"], line["stage"]), ("deferred", "connect"))
            self.assertIn("listen.proxy", line["reply"])
            self.assertEqual(line["client"]["ip"], "127.0.0.1")
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(self.log.records(), [])

    def test_from_elsewhere_it_is_a_mistake(self):
        self.start(listen={"proxy": ["192.0.2.0/24"]})
        for header in (v1(), v2()):
            wire = Wire(self.server.address)
            self.addCleanup(wire.close)
            wire.send(header)
            self.assertRegex(wire.reply(), "^500 5.5")
            if header == v1():
                wire.hello()
                self.assertRegex(wire.message(b"From: a@client.test\r\n\r\nx\r\n"), "^250")
        self.assertEqual(len(self.log.records()), 1)
        self.assertEqual((self.client_of_last()["ip"], self.client_of_last()["via"]),
                         ("127.0.0.1", None))
        self.assertEqual(self.server.stop(), 0)

    def test_limits_are_those_of_the_client(self):
        """A claimed loopback address has no exemption; the balancer is not counted."""
        self.start(limits={"connections_per_ip": 2, "messages_per_minute": 1})
        kept = []
        for client in ("127.0.0.9", "192.0.2.7", "2001:db8::1"):
            family = "TCP6" if ":" in client else "TCP4"
            header = v1(client, 4000, family, client)
            for _ in range(2):
                kept.append(self.from_client(header))
                self.assertRegex(kept[-1].reply(), "^220")
            self.assertRegex(self.from_client(header).reply(), "^421 4.7.0")
        self.assertRegex(self.from_client(v1("2001:db8::2", 1, "TCP6", "::1")).reply(),
                         "^421 4.7.0", "the same /64")
        kept[0].hello()
        kept[1].hello()
        self.assertRegex(kept[0].ask("MAIL FROM:<a@b.test>"), "^250")
        self.assertRegex(kept[1].ask("MAIL FROM:<a@b.test>"), "^450 4.7.0")
        kept[0].close()
        mxtest.wait_until(lambda: self.from_client(v1("127.0.0.9")).reply().startswith("220"), 10,
                          "a place is free again")
        line = next(line for line in self.journal() if line["reply"].startswith("421 4.7.0"))
        self.assertEqual((line["client"]["ip"], line["client"]["via"]), ("127.0.0.9", "127.0.0.1"))
        for wire in kept:
            wire.close()
        self.assertEqual(self.server.stop(), 0)


class Xclient(IdentityCase):
    def start(self, **sections):
        sections.setdefault("listen", {"xclient": ["127.0.0.1"]})
        super().start(**sections)

    def test_the_client_is_the_one_that_the_proxy_names(self):
        self.start()
        wire = Wire(self.server.address)
        self.addCleanup(wire.close)
        self.assertIn("\n250-XCLIENT NAME ADDR PORT PROTO HELO", wire.hello())
        self.assertRegex(wire.ask("XCLIENT ADDR=IPV6:2001:db8::7 PORT=4000 "
                                  "NAME=mail.client.test HELO=real.client.test PROTO=SMTP"),
                         "^220 mx.test ESMTP")
        self.assertRegex(wire.ask("MAIL FROM:<a@client.test>"), "^503 5.5.1")
        self.assertRegex(wire.ask("EHLO proxy.test"), "^250")
        self.assertRegex(wire.message(b"From: a@client.test\r\n\r\nx\r\n"), "^250 2.0.0 Ok")
        record = self.log.records()[-1]
        own = wire.socket.getsockname()[1]
        self.assertEqual(record["client"], {
            "ip": "2001:db8::7", "port": 4000, "helo": "real.client.test",
            "name": "mail.client.test",
            "via": {"ip": "127.0.0.1", "port": own, "protocol": "xclient"}})
        self.assertEqual(record["protocol"], "SMTP")
        self.assertIn(b"Received: from real.client.test (mail.client.test [IPv6:2001:db8::7])",
                      self.log.delivered(0))
        # The next message of another client on the same connection.
        self.assertRegex(wire.ask("XCLIENT ADDR=192.0.2.9 NAME=[UNAVAILABLE] HELO=[UNAVAILABLE]"),
                         "^220")
        self.assertRegex(wire.hello(), "^250")
        self.assertRegex(wire.message(b"From: a@client.test\r\n\r\nx\r\n"), "^250 2.0.0 Ok")
        client = self.client_of_last()
        self.assertEqual((client["ip"], client["name"], client["port"]), ("192.0.2.9", None, 0))
        self.assertEqual(self.server.stop(), 0)

    def test_from_elsewhere(self):
        """Judged by the TCP peer, and not by the client that a balancer named."""
        self.start(listen={"proxy": ["127.0.0.1"], "xclient": ["192.0.2.0/24"]})
        wire = self.from_client(v1("192.0.2.7"))
        self.assertRegex(wire.reply(), "^220")
        self.assertNotIn("XCLIENT", wire.hello())
        self.assertRegex(wire.ask("XCLIENT ADDR=198.51.100.1"), "^550 5.7.0")
        self.assertRegex(wire.message(b"From: a@client.test\r\n\r\nx\r\n"), "^250 2.0.0 Ok")
        self.assertEqual(self.client_of_last()["ip"], "192.0.2.7")
        self.assertEqual(self.server.stop(), 0)

    def test_limits_are_those_of_the_client(self):
        self.start(limits={"connections_per_ip": 2, "connections_per_minute": 4})
        kept = []
        for _ in range(5):
            kept.append(Wire(self.server.address))  # the proxy itself is not counted
        for wire in kept[:2]:
            self.assertRegex(wire.ask("XCLIENT ADDR=127.0.0.9"), "^220")
        self.assertRegex(kept[2].ask("XCLIENT ADDR=127.0.0.9"), "^421 4.7.0")
        self.assertTrue(kept[2].at_end())
        self.assertRegex(kept[0].ask("XCLIENT ADDR=192.0.2.9"), "^220", "its place moves along")
        self.assertRegex(kept[3].ask("XCLIENT ADDR=127.0.0.9"), "^220")
        kept[3].close()
        mxtest.wait_until(lambda: not self.over_limit("127.0.0.10"), 5, "others are not touched")
        self.assertTrue(self.over_limit("127.0.0.9"), "the fifth within a minute")
        for wire in kept:
            wire.close()
        self.assertEqual(self.server.stop(), 0)

    def over_limit(self, address):
        with Wire(self.server.address) as wire:
            return wire.ask(f"XCLIENT ADDR={address}").startswith("421 4.7.0")

    def test_reload_changes_whom_is_believed(self):
        self.start(listen={"xclient": ["192.0.2.0/24"]})
        before = Wire(self.server.address)
        self.addCleanup(before.close)
        self.server.config["listen"]["xclient"] = ["127.0.0.1"]
        self.server.config["listen"]["proxy"] = []
        self.server.command()  # writes the file
        self.run_client([mxtest.BINARY, "ctl", "reload", "--socket",
                         os.path.join(self.server.log_dir, "control")])
        self.assertRegex(before.ask("XCLIENT ADDR=192.0.2.9"), "^550", "as it began")
        with Wire(self.server.address) as after:
            self.assertRegex(after.ask("XCLIENT ADDR=192.0.2.9"), "^220")
        self.assertEqual(self.server.stop(), 0)


class Swaks(IdentityCase):
    def deliver_by(self, *options):
        swaks = self.need("swaks")
        host, port = self.server.address
        self.run_client([swaks, "--server", host, "--port", str(port), "--from", "a@client.test",
                         "--to", "b@mx.test", "--helo", "real.client.test", *options])
        return self.log.records()[-1]

    def test_xclient(self):
        self.start(listen={"xclient": ["127.0.0.1"]})
        record = self.deliver_by("--xclient-addr", "192.0.2.7", "--xclient-name",
                                 "mail.client.test", "--xclient-port", "4000", "--xclient-helo",
                                 "named.client.test", "--xclient-proto", "ESMTP")
        client = record["client"]
        self.assertEqual((client["ip"], client["port"], client["helo"], client["name"],
                          client["via"]["protocol"]),
                         ("192.0.2.7", 4000, "named.client.test", "mail.client.test", "xclient"))
        self.assertEqual(record["protocol"], "ESMTP")
        self.assertEqual(self.server.stop(), 0)

    def test_proxy(self):
        self.start()
        for version, client, family in (("1", "192.0.2.7", "TCP4"), ("2", "192.0.2.7", "AF_INET"),
                                        ("2", "2001:db8::7", "AF_INET6")):
            destination = "2001:db8::25" if ":" in client else "192.0.2.25"
            record = self.deliver_by(
                "--proxy-version", version, "--proxy-family", family, "--proxy-source", client,
                "--proxy-source-port", "4000", "--proxy-dest", destination, "--proxy-dest-port",
                "25", *(() if version == "1" else ("--proxy-protocol", "STREAM",
                                                   "--proxy-command", "PROXY")))
            self.assertEqual((record["client"]["ip"], record["client"]["port"]), (client, 4000))
            self.assertEqual(record["client"]["via"]["protocol"], f"proxy-v{version}")
        self.assertEqual(self.server.stop(), 0)


class Balancer(IdentityCase):
    """HAProxy itself."""

    CLIENTS = 1000

    def setUp(self):
        super().setUp()
        if not haproxy.find_haproxy():
            self.skipTest("haproxy is not installed")

    def proxy(self, entries):
        proxy = haproxy.Haproxy(self.directory, entries)
        self.addCleanup(proxy.stop)
        return proxy

    def test_versions_and_health_checks(self):
        self.start(listen={"smtps": ["127.0.0.1:0"], "proxy": ["127.0.0.1"]})
        check = "    option smtpchk EHLO haproxy.test"
        always = "check inter 100ms check-send-proxy"
        plain, tls = self.server.address, self.smtps()
        proxy = self.proxy({
            "one": {"to": plain, "options": f"send-proxy {always}", "check": check},
            "two": {"to": plain, "options": f"send-proxy-v2 {always}", "check": check},
            "sealed": {"to": tls, "options": "send-proxy-v2"},
            "wrapped": {"to": tls, "options": f"send-proxy-v2 ssl verify none {always} check-ssl",
                        "check": check},
            "vectors": {"to": plain, "options": "send-proxy-v2 proxy-v2-options crc32c,unique-id"},
        })
        for name in ("one", "two", "wrapped"):
            mxtest.wait_until(lambda name=name: proxy.check_of(name) == "L7OK", 15,
                              f"{name}: smtpchk is content ({proxy.check_of(name)})")
        for name, protocol in [("one", "proxy-v1"), ("two", "proxy-v2"), ("wrapped", "proxy-v2"),
                               ("vectors", "proxy-v2")]:
            wire = self.from_client(b"", proxy.address(name))
            own = wire.socket.getsockname()
            self.deliver(wire)
            client = self.client_of_last()
            self.assertEqual((client["ip"], client["port"]), own, name)
            self.assertEqual(client["via"]["protocol"], protocol, name)
            self.assertNotEqual(client["via"]["port"], own[1])
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        wire = self.from_client(b"", proxy.address("sealed"))
        own = wire.socket.getsockname()
        wire.socket = context.wrap_socket(wire.socket)
        self.deliver(wire)
        record = self.log.records()[-1]
        self.assertEqual((record["client"]["ip"], record["client"]["port"]), own)
        self.assertEqual(record["protocol"], "ESMTPS")
        proxy.stop()
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(self.journal(), [], "health checks are no mistakes")

    def test_a_balancer_that_sends_none(self):
        self.start(limits={"proxy_header": "300ms"})
        proxy = self.proxy({"bare": {"to": self.server.address}})
        wire = self.from_client(b"", proxy.address("bare"))
        self.assertRegex(wire.reply(), "^421 4.3.0 No PROXY header where listen.proxy")
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(len(self.journal()), 1)

    def test_a_thousand_clients(self):
        """Per-client limits and SPF are those of the client, not of the balancer."""
        dns = self.serve_dns({"client.test": '@ TXT "v=spf1 ip4:127.0.1.0/24 -all"\n'})
        self.start(dns={"servers": [dns.address]}, auth={"spf": True},
                   limits={"connections_per_ip": 4})
        proxy = self.proxy({"two": {"to": self.server.address, "options": "send-proxy-v2"}})
        wires = []
        for number in range(self.CLIENTS):
            source = f"127.0.{1 + number % 2}.{1 + number // 8}"
            wire = socket.socket()
            self.addCleanup(wire.close)
            wire.settimeout(60)
            wire.bind((source, 0))
            wire.connect(proxy.address("two"))
            wires.append((source, wire))
        for _, wire in wires:
            self.assertRegex(wire.recv(4096), b"^220 mx.test")
        self.assertRegex(self.fifth(proxy), b"^421 4.7.0")
        group = (b"EHLO client.test\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\n"
                 b"DATA\r\n")
        for _, wire in wires:
            wire.sendall(group)
        self.read_all(wires, b"\n354 ")
        for _, wire in wires:
            wire.sendall(b"From: a@client.test\r\n\r\nx\r\n.\r\nQUIT\r\n")
        self.read_all(wires, b"\n221 ")
        records = self.log.records()
        self.assertEqual(len(records), self.CLIENTS)
        self.assertEqual(sorted(record["client"]["ip"] for record in records),
                         sorted(source for source, _ in wires))
        for record in records:
            inside = record["client"]["ip"].startswith("127.0.1.")
            self.assertEqual(record["spf"]["result"], "pass" if inside else "fail")
        self.assertEqual(self.server.stop(), 0)

    def fifth(self, proxy):
        with socket.socket() as wire:
            wire.settimeout(60)
            wire.bind(("127.0.1.1", 0))
            wire.connect(proxy.address("two"))
            return wire.recv(4096)

    def read_all(self, wires, wanted):
        heard = {}
        with selectors.DefaultSelector() as ready:
            for _, wire in wires:
                heard[wire] = b"\n"
                ready.register(wire, selectors.EVENT_READ)
            end = time.monotonic() + 60
            while ready.get_map():
                self.assertLess(time.monotonic(), end)
                for key, _ in ready.select(1):
                    piece = key.fileobj.recv(65536)
                    self.assertTrue(piece, heard[key.fileobj])
                    heard[key.fileobj] += piece
                    if wanted in heard[key.fileobj]:
                        ready.unregister(key.fileobj)


if __name__ == "__main__":
    mxtest.main()
