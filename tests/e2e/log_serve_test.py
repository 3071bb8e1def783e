"""`mxring log serve`: records and bodies over HTTP, asked by curl, by Python's client, and by those
who mean no good."""

import base64
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import mxtest
from log_serve_program import TOKEN, LogServe, LogServeCase, read_all
from mxtest import BINARY, Log, wait_until

GET = (f"GET /v1/log HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
       "\r\n").encode()


class Records(LogServeCase):
    def test_lines_are_those_of_log_cat(self):
        self.send(12)
        serve = LogServe(self, self.server.log_dir)
        cat = Log(self.server.log_dir).records()
        self.assertEqual(serve.records(""), (cat, 12))
        self.assertEqual(serve.records("from=3&max=4"), (cat[3:7], 7))
        self.assertEqual(serve.records("from=-2"), (cat[10:], 12))
        self.assertEqual(serve.records("from=latest"), ([], 12))
        self.assertEqual(serve.records("after=10&limit=5"), (cat[11:], 12))
        self.assertEqual(serve.records(f"after={cat[4]['id']}&max=1"), (cat[5:6], 6))
        self.assertEqual(serve.records("since=2020-01-01&max=1"), (cat[:1], 1))
        with_body, _ = serve.records("from=7&max=1&body=base64")
        self.assertEqual(base64.b64decode(with_body[0].pop("message_base64")),
                         Log(self.server.log_dir).as_received(7))
        self.assertEqual(with_body, cat[7:8])
        delivered, _ = serve.records("from=7&max=1&body=base64&form=delivered")
        self.assertEqual(base64.b64decode(delivered[0]["message_base64"]),
                         Log(self.server.log_dir).delivered(7))
        _, _, facts = serve.ask("/v1/log")
        self.assertEqual(json.loads(facts),
                         {"log_id": cat[0]["id"].split("_")[0], "first": 0, "end": 12})
        self.assertEqual(serve.stop(), 0)
        self.assertEqual(serve.stderr(), "")

    def test_waiting_ends_with_a_record_or_its_time(self):
        self.send(1)
        serve = LogServe(self, self.server.log_dir)
        begun = time.monotonic()
        self.assertEqual(serve.records("from=1&wait=1"), ([], 1))
        self.assertGreaterEqual(time.monotonic() - begun, 0.9)
        found = []
        waiting = threading.Thread(target=lambda: found.append(serve.records("from=1&wait=60")))
        waiting.start()
        time.sleep(0.3)
        self.assertEqual(found, [])
        self.send(1)
        waiting.join(30)
        self.assertEqual((found[0][0][0]["offset"], found[0][1]), (1, 2))

    def test_a_client_that_goes_on_misses_nothing(self):
        serve = LogServe(self, self.server.log_dir)
        offsets, place = [], 0
        feeder = threading.Thread(target=self.send, args=(300,))
        feeder.start()
        connection = http.client.HTTPConnection(serve.host, serve.port, timeout=30)
        while len(offsets) < 300:
            status, headers, body = serve.ask(f"/v1/records?from={place}&wait=10&max=37",
                                              connection=connection)
            self.assertEqual(status, 200)
            offsets += [json.loads(line)["offset"] for line in body.splitlines()]
            place = int(headers["mx-next"])
        feeder.join()
        connection.close()
        self.assertEqual(offsets, list(range(300)))

    def test_what_is_missing_is_a_gap_or_an_error(self):
        self.send(3)
        serve = LogServe(self, self.server.log_dir)
        serve.error("/v1/records?from=4", 409, "beyond-end")
        serve.error("/v1/records?after=3", 409, "beyond-end")
        serve.error(f"/v1/records?after={'0' * 32}_1", 409, "foreign-log")
        for query in ("frm=1", "from=x", "from=1&after=2", "max=0", "max=10001", "max=1&limit=1",
                      "wait=301", "wait=-1", "wait=x", "body=yes", "form=x", "refused=2",
                      "since=when", "after=zz_1", "from=%zz", "from=18446744073709551616"):
            serve.error("/v1/records?" + query, 400, "bad-query")

    def test_removed_records(self):
        self.server.stop()
        self.server = self.serve({"log": {"segment_bytes": "4MiB", "retain_bytes": "8MiB"},
                                  "limits": {"message_size": "1MiB", "memory": "64MiB"}},
                                 log_dir=os.path.join(self.directory, "small"))
        self.send(1)
        serve = LogServe(self, self.server.log_dir)
        (first,), _ = serve.records("from=0")
        self.send(30, 700_000)
        log = json.loads(serve.ask("/v1/log")[2])
        self.assertGreater(log["first"], 0)
        found, _ = serve.records("from=0&max=2")
        self.assertEqual(found[0], {"gap": {"first": 0, "next": log["first"], "why": "removed"}})
        self.assertEqual(found[1]["offset"], log["first"])
        serve.error("/v1/body/" + first["id"], 410, "removed")

    def test_a_log_made_anew_is_noticed(self):
        self.send(5)
        serve = LogServe(self, self.server.log_dir)
        cat = Log(self.server.log_dir).records()
        connection = http.client.HTTPConnection(serve.host, serve.port, timeout=30)
        self.assertEqual(serve.ask("/v1/records", connection=connection)[0], 200)
        self.assertEqual(self.server.stop(), 0)
        shutil.rmtree(self.server.log_dir)
        self.server = self.serve(self.CONFIG)
        self.sent = 0
        self.send(2)
        time.sleep(1.1)
        status, _, body = serve.ask(f"/v1/body/{cat[0]['id']}", connection=connection)
        self.assertEqual((status, json.loads(body)["error"]["code"]), (404, "foreign-log"))
        status, _, body = serve.ask("/v1/records?from=5", connection=connection)
        self.assertEqual((status, json.loads(body)["error"]["code"]), (409, "beyond-end"))
        connection.close()


class Bodies(LogServeCase):
    def setUp(self):
        super().setUp()
        self.send(1)
        self.send(1, 3_000_000)
        self.serve_log = LogServe(self, self.server.log_dir)
        self.ids = [r["id"] for r in Log(self.server.log_dir).records()]
        self.texts = [Log(self.server.log_dir).as_received(i) for i in (0, 1)]

    def test_ranges(self):
        serve, size = self.serve_log, len(self.texts[1])
        target = "/v1/body/" + self.ids[1]
        status, whole, body = serve.ask(target)
        self.assertEqual((status, body), (200, self.texts[1]))
        self.assertEqual(whole["content-type"], "message/rfc822")
        self.assertEqual(whole["accept-ranges"], "bytes")
        for field, begin, end in (("bytes=0-0", 0, 1), ("bytes=1000-1999", 1000, 2000),
                                  (f"bytes={size - 5}-", size - 5, size),
                                  ("bytes=-7", size - 7, size),
                                  ("bytes=2999990-999999999", 2999990, size)):
            status, headers, body = serve.ask(target, {"Range": field})
            self.assertEqual((status, body), (206, self.texts[1][begin:end]), field)
            self.assertEqual(headers["content-range"], f"bytes {begin}-{end - 1}/{size}")
        for field in (f"bytes={size}-", "bytes=-0"):
            status, headers, body = serve.ask(target, {"Range": field})
            self.assertEqual((status, body, headers["content-range"]),
                             (416, b"", f"bytes */{size}"))
        for field in ("bytes=5-1", "bytes=0-1,5-6", "lines=0-1", "bytes=x"):
            self.assertEqual(serve.ask(target, {"Range": field})[0], 200, field)
        # Only what the client has the rest of.
        tag, modified = whole["etag"], whole["last-modified"]
        for condition, wanted in ((tag, 206), (modified, 206), ('"x"', 200),
                                  ("Tue, 01 Jan 2019 00:00:00 GMT", 200)):
            self.assertEqual(serve.ask(target, {"Range": "bytes=0-0", "If-Range": condition})[0],
                             wanted)
        status, _, body = serve.ask(target, {"If-None-Match": f'"y", {tag}'})
        self.assertEqual((status, body), (304, b""))
        status, headers, body = serve.ask(target, {"Range": "bytes=0-0"}, method="HEAD")
        self.assertEqual((status, body, headers["content-length"]), (200, b"", str(size)))
        self.assertEqual(headers["etag"], tag)

    def test_the_delivered_form_is_another_entity(self):
        target = "/v1/body/" + self.ids[0]
        _, received, text = self.serve_log.ask(target)
        self.assertEqual(text, self.texts[0])
        _, delivered, text = self.serve_log.ask(target + "?form=delivered")
        self.assertEqual(text, Log(self.server.log_dir).delivered(0))
        self.assertNotEqual(received["etag"], delivered["etag"])
        self.assertEqual(self.serve_log.ask("/v1/body/0")[2], self.texts[0])

    def test_curl_resumes(self):
        curl = self.need("curl")
        url = f"http://{self.serve_log.address}/v1/body/{self.ids[1]}"
        out = os.path.join(self.directory, "mail.eml")
        with open(out, "wb") as part:
            part.write(self.texts[1][:1_234_567])
        self.run_client([curl, "-sSf", "-C", "-", "-o", out, "-H",
                         f"Authorization: Bearer {TOKEN}", url])
        with open(out, "rb") as whole:
            self.assertEqual(whole.read(), self.texts[1])

    def test_ids_that_are_none(self):
        log, offset = self.ids[0].split("_")
        for name, status, code in (
                ("0" * 32 + "_0", 404, "foreign-log"), (f"{log}_7", 404, "no-such-record"),
                ("9", 404, "no-such-record"), ("", 400, "bad-id"), ("x", 400, "bad-id"),
                (log.upper() + "_0", 400, "bad-id"), (f"{log}_-1", 400, "bad-id"),
                (f"{log}_18446744073709551616", 400, "bad-id"), (f"{log}_0/x", 400, "bad-id"),
                ("../../../etc/passwd", 400, "bad-id"), ("..%2f..%2fLOCK", 400, "bad-id"),
                (f"{log}_0?form=x", 400, "bad-query")):
            self.serve_log.error("/v1/body/" + name, status, code)
        for name in ("/", "/v1", "/v1/../v1/log", "/v1/records/", "/groups/g.cursor"):
            self.serve_log.error(name, 404, "no-such-page")

    def test_damage_is_said(self):
        self.assertEqual(self.server.stop(), 0)
        segment = Log(self.server.log_dir).info()["segments"][0]["file"]
        with open(os.path.join(self.server.log_dir, segment), "r+b") as file:
            at = file.read().index(self.texts[0][-60:])
            file.seek(at)
            file.write(b"!!!!")
        self.serve_log.error("/v1/body/" + self.ids[0], 500, "damaged")
        self.assertEqual(self.serve_log.ask("/v1/body/" + self.ids[1])[2], self.texts[1])
        found, _ = self.serve_log.records("from=0&max=1")
        self.assertEqual(found, [{"gap": {"first": 0, "next": 1, "why": "damaged"}}])


class Access(LogServeCase):
    def test_the_token(self):
        serve = LogServe(self, self.server.log_dir)
        for given in (None, "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
                      f"Basic {TOKEN}", TOKEN):
            headers = {"Authorization": given} if given else {}
            told = serve.error("/v1/records", 401, "wrong-token", headers=headers, token=False)
            self.assertEqual(told["www-authenticate"], "Bearer")
            serve.error("/v1/body/0", 401, "wrong-token", headers=headers, token=False)
        self.assertEqual(serve.ask("/healthz", token=False)[2], b"ok\n")
        # Two while one is changed; the file is read at every request.
        with open(serve.token_file, "a") as out:
            out.write("fedcba9876543210fedcba9876543210\n")
        self.assertEqual(serve.ask("/v1/log")[0], 200)
        serve.token = "fedcba9876543210fedcba9876543210"
        self.assertEqual(serve.ask("/v1/log")[0], 200)
        os.rename(serve.token_file, serve.token_file + ".gone")
        serve.error("/v1/log", 503, "no-token")
        self.assertIn("token: No such file", serve.stderr())
        os.rename(serve.token_file + ".gone", serve.token_file)
        self.assertEqual(serve.ask("/v1/log")[0], 200)

    def test_only_reading_and_only_under_our_names(self):
        serve = LogServe(self, self.server.log_dir, "--name", "mx.test")
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"):
            told = serve.error("/v1/records", 405, "read-only", method=method)
            self.assertEqual(told["allow"], "GET, HEAD, OPTIONS")
        self.assertEqual(serve.ask("/v1/records", method="OPTIONS")[0], 204)
        for host in ("mx.test", "MX.test:9926", "localhost", "[::1]:1"):
            self.assertEqual(serve.ask("/v1/log", {"Host": host})[0], 200, host)
        serve.error("/v1/log", 421, "wrong-host", headers={"Host": "evil.test"})

    def test_mistakes_on_the_command_line(self):
        short = os.path.join(self.directory, "short")
        with open(short, "w") as out:
            out.write("tooshort\n")
        token = os.path.join(self.directory, "good")
        with open(token, "w") as out:
            out.write(TOKEN + "\n")

        def refused(code, *args, said):
            done = subprocess.run([BINARY, "log", "serve", self.server.log_dir, *args],
                                  capture_output=True, text=True, timeout=30)
            self.assertEqual((done.returncode, done.stdout), (code, ""), (args, done.stderr))
            self.assertIn(said, done.stderr)

        refused(2, said="--token-file")
        refused(2, "--listen", "0.0.0.0:0", "--token-file", token, said="--plaintext")
        refused(2, "--listen", "[::]:0", "--token-file", token, said="--certificate")
        refused(2, "--listen", "nowhere", "--token-file", token, said="ADDR:PORT")
        refused(2, "--certificate", "x", "--token-file", token, said="belong together")
        refused(2, "--timeout", "soon", "--token-file", token, said="--timeout soon")
        refused(78, "--token-file", short, said="16 characters")
        refused(78, "--token-file", short + ".no", said="No such file")
        refused(78, "--token-file", token, "--certificate", short, "--key", short, said="short")
        done = subprocess.run([BINARY, "log", "serve", self.directory + "/no", "--token-file",
                               token], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("No such file", done.stderr)

    def test_over_a_unix_socket_its_owner_needs_no_token(self):
        curl = self.need("curl")
        path = os.path.join(mxtest.short_directory(self), "s")
        self.send(1)
        serve = LogServe(self, self.server.log_dir, listen="unix:" + path, token=None)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        got = self.run_client([curl, "-sSf", "--unix-socket", path, "http://any.name/v1/body/0"])
        self.assertEqual(got.stdout, Log(self.server.log_dir).as_received(0))
        self.assertEqual(serve.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_under_tls(self):
        openssl, curl = self.need("openssl"), self.need("curl")
        cert, key = (os.path.join(self.directory, n) for n in ("cert.pem", "key.pem"))

        def make(name):
            self.run_client([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt",
                             "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
                             "-days", "2", "-subj", "/CN=" + name, "-addext",
                             "subjectAltName=IP:127.0.0.1"])

        make("one")
        self.send(1)
        self.send(1, 3_000_000)
        serve = LogServe(self, self.server.log_dir, "--certificate", cert, "--key", key)
        url = f"https://{serve.address}/v1/body/1"
        for more in ([], ["--tls-max", "1.2"], ["-r", "0-", "--http1.1"]):
            got = self.run_client([curl, "-sSf", "--cacert", cert, *more, "-H",
                                   f"Authorization: Bearer {TOKEN}", url])
            self.assertEqual(got.stdout, Log(self.server.log_dir).as_received(1))
        context = ssl.create_default_context(cafile=cert)
        connection = http.client.HTTPSConnection(serve.host, serve.port, context=context,
                                                 timeout=30)
        for _ in range(3):
            self.assertEqual(serve.ask("/v1/body/0", connection=connection)[2],
                             Log(self.server.log_dir).as_received(0))
        connection.close()
        # In clear, as noise, and cut off in the handshake: ended without a word of HTTP.
        self.assertNotIn(b"HTTP", serve.raw(GET))
        self.assertNotIn(b"HTTP", serve.raw(b"\x16\x03\x01\x00\x05\x01\x00\xff\xff\xff" * 9))
        make("two")
        serve.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "read again" in serve.stderr(), 10, "the certificate is read again")
        got = self.run_client([curl, "-sSf", "--cacert", cert, "-H",
                               f"Authorization: Bearer {TOKEN}", url])
        self.assertEqual(len(got.stdout), len(Log(self.server.log_dir).as_received(1)))
        self.assertEqual(serve.stop(), 0)


class Hostile(LogServeCase):
    def serve_log(self, *args):
        self.send(1)
        self.send(1, 3_900_000)
        return LogServe(self, self.server.log_dir, *args)

    def status(self, answer):
        return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d+)", answer)]

    def test_pipelined_requests_are_answered_in_order(self):
        serve = self.serve_log()
        body = GET.replace(b"/v1/log", b"/v1/body/0")
        data = body + GET + body
        for step in (len(data), 1):
            with socket.create_connection((serve.host, serve.port), timeout=20) as wire:
                for at in range(0, len(data), step):
                    wire.sendall(data[at:at + step])
                wire.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                answer = read_all(wire)
            self.assertEqual(self.status(answer), [200] * 4)
            kinds = re.findall(rb"Content-Type: (\S+)", answer)
            self.assertEqual(kinds, [b"message/rfc822", b"application/json"] * 2)

    def test_what_is_no_request(self):
        serve = self.serve_log()
        auth = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
        for data, wanted in (
                (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),
                (b"EHLO x\r\n\r\n", 400),
                (b"GET /v1/log HTTP/1.1\r\n\r\n", 400),
                (b"GET /v1/log HTTP/1.1\nHost: 127.0.0.1\n\n", 400),
                (b"GET /v1/log HTTP/1.1\r\n" + auth + b"Host: 127.0.0.1\r\n\r\n", 400),
                (b"GET /v1/log HTTP/1.1\r\n" + auth + b"X : y\r\n\r\n", 400),
                (b"GET /v1/log HTTP/1.1\r\n" + auth + b"X: y\r\n z\r\n\r\n", 400),
                (b"GET /v1/log HTTP/1.1\r\n" + auth + b"X: \0\r\n\r\n", 400),
                (b"GET /v1/log HTTP/2.0\r\n" + auth + b"\r\n", 505),
                (b"GET /v1/log HTTP/1.1\r\n" + auth + b"X: " + b"y" * 20000 + b"\r\n\r\n", 431),
                (b"GET /v1/log HTTP/1.1\r\n" + auth + b"X: y\r\n" * 70 + b"\r\n", 431),
                (b"G" * 40000, 431)):
            self.assertEqual(self.status(serve.raw(data + GET)), [wanted], data[:60])
        # A body that nobody reads is never taken for a request.
        smuggled = (b"POST /v1/log HTTP/1.1\r\n" + auth + b"Content-Length: %d\r\n\r\n" % len(GET) +
                    GET)
        self.assertEqual(self.status(serve.raw(smuggled)), [405])
        chunked = b"GET /v1/log HTTP/1.1\r\n" + auth + b"Transfer-Encoding: chunked\r\n\r\n" + GET
        self.assertEqual(self.status(serve.raw(chunked)), [200])
        self.assertEqual(serve.ask("/v1/log")[0], 200)

    def test_the_silent_and_the_slow_are_cut_off(self):
        serve = self.serve_log("--timeout", "1s")
        sockets = f"/proc/{serve.process.pid}/fd"
        before = len(os.listdir(sockets))
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        slow.settimeout(30)
        with socket.create_connection((serve.host, serve.port), timeout=30) as silent, \
                socket.create_connection((serve.host, serve.port), timeout=30) as half, slow:
            half.sendall(GET[:-2])
            self.assertEqual(read_all(silent), b"")
            self.assertEqual(self.status(read_all(half)), [408])
            self.assertEqual(serve.ask("/v1/log")[0], 200)
            slow.connect((serve.host, serve.port))
            slow.sendall(GET.replace(b"/v1/log", b"/v1/body/1"))
            self.assertEqual(slow.recv(12), b"HTTP/1.1 200")
            self.assertGreater(len(os.listdir(sockets)), before)
            wait_until(lambda: len(os.listdir(sockets)) <= before, 25, "the slow one is cut off")
        self.assertEqual(serve.ask("/v1/log")[0], 200)

    def test_a_dribbler_does_not_hold_a_request_open(self):
        serve = self.serve_log("--timeout", "1s")
        with socket.create_connection((serve.host, serve.port), timeout=30) as wire:
            wire.settimeout(0.2)
            answer = b""
            for byte in GET[:-4] + b"\r\nX: " + b"y" * 200:
                try:
                    wire.sendall(bytes([byte]))
                    answer = wire.recv(4096)
                    break
                except (socket.timeout, TimeoutError):
                    continue
                except OSError:
                    break
            self.assertEqual(self.status(answer), [408])

    def test_many_connections(self):
        serve = self.serve_log("--connections", "4")
        # Whoever has shown a token and waits for records keeps its place; the silent lose theirs.
        found = []
        waiting = threading.Thread(
            target=lambda: found.append(serve.records("from=2&wait=60")))
        keeping = http.client.HTTPConnection(serve.host, serve.port, timeout=30)
        self.assertEqual(serve.ask("/v1/log", connection=keeping)[0], 200)
        waiting.start()
        time.sleep(0.2)
        silent = [socket.create_connection((serve.host, serve.port), timeout=30)
                  for _ in range(40)]
        for _ in range(10):
            self.assertEqual(serve.ask("/v1/log")[0], 200)
        self.assertEqual(serve.ask("/v1/log", connection=keeping)[0], 200)
        self.send(1)
        waiting.join(30)
        self.assertEqual(found[0][1], 3)
        for wire in silent:
            wire.close()
        keeping.close()

    def test_sigterm_ends_it_at_once(self):
        serve = self.serve_log()
        wires = [socket.create_connection((serve.host, serve.port), timeout=30) for _ in range(4)]
        wires[1].sendall(GET.replace(b"/v1/log", b"/v1/records?from=2&wait=300"))
        wires[2].sendall(GET.replace(b"/v1/log", b"/v1/body/1"))  # not read
        wires[3].sendall(GET[:20])
        time.sleep(0.3)
        begun = time.monotonic()
        self.assertEqual(serve.stop(), 0)
        took = time.monotonic() - begun
        print(f"ended {took * 1000:.0f} ms after SIGTERM")
        self.assertLess(took, 5)
        for wire in wires:
            wire.close()


if __name__ == "__main__":
    mxtest.main()
