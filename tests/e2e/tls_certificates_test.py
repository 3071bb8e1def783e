#!/usr/bin/env python3
"""Which certificate a client gets, which kinds there are, and what clients that check them need."""
import json
import os
import re
import subprocess
import sys

import mxtest
from mxtest import Log
from tls_test import TlsCase, endpoint, make_certificate

EC = ["-newkey", "ec", "-pkeyopt"]
KINDS = {
    "p256": [*EC, "ec_paramgen_curve:P-256"],
    "p384": [*EC, "ec_paramgen_curve:P-384"],
    "p521": [*EC, "ec_paramgen_curve:P-521"],
    "rsa": ["-newkey", "rsa:2048"],
    "rsa-pss": ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"],
    "rsa-pss-sha256": ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt",
                       "rsa_pss_keygen_md:sha256"],
    "ed25519": ["-newkey", "ed25519"],
    "ed448": ["-newkey", "ed448"],
    "secp256k1": [*EC, "ec_paramgen_curve:secp256k1"],
    "brainpool": [*EC, "ec_paramgen_curve:brainpoolP256r1"],
}


class KindCase(TlsCase):
    def make(self, kind, host="mx.test", *more):
        certificate = os.path.join(self.directory, f"{kind}.{host}.pem")
        key = os.path.join(self.directory, f"{kind}.{host}.key")
        self.run_client([self.need("openssl"), "req", "-x509", *KINDS[kind], "-nodes", "-keyout",
                         key, "-out", certificate, "-days", "30", "-subj", f"/CN={host}",
                         "-addext", f"subjectAltName=DNS:{host}", *more])
        return certificate, key

    def start_with(self, *certificates):
        first, *others = certificates
        self.start({"certificate": first[0], "key": first[1],
                    "certificates": [{"certificate": c, "key": k} for c, k in others]})

    def attempt(self, *flags):
        """Whether the handshake was done, and what openssl said."""
        done = subprocess.run([self.need("openssl"), "s_client", "-connect",
                               "%s:%d" % self.tls_address, *flags],
                              input=b"QUIT\r\n", capture_output=True, timeout=20)
        text = done.stdout.decode() + done.stderr.decode()
        return "Cipher is (NONE)" not in text and "New, " in text or "Reused, " in text, text

    def key_of(self, *flags):
        """The kind of key of the certificate that a client with these flags is given."""
        good, text = self.attempt(*flags)
        self.assertTrue(good, (flags, text))
        size = re.search(r"Server public key is (\d+) bit", text)[1]
        return {"256": "p256", "384": "p384", "521": "p521", "2048": "rsa"}[size]


class Choice(KindCase):
    """P-384 beside RSA and P-256, for clients that know one of them only."""

    ONLY = (("rsa", ("-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256:rsa_pss_rsae_sha512")),
            ("p256", ("-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256")),
            ("p384", ("-tls1_3", "-sigalgs", "ecdsa_secp384r1_sha384")),
            ("rsa", ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")),
            ("rsa", ("-tls1_2", "-sigalgs", "RSA+SHA256")),
            ("p256", ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", "-groups", "P-256")),
            ("p384", ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", "-groups", "P-384")),
            ("p384", ("-tls1_2", "-groups", "P-384")))

    def test_each_gets_what_it_can_check(self):
        made = {kind: self.make(kind) for kind in ("p384", "rsa", "p256")}
        for order in (("p384", "rsa", "p256"), ("rsa", "p256", "p384"), ("p256", "p384", "rsa")):
            self.start_with(*(made[kind] for kind in order))
            for kind, flags in self.ONLY:
                for name in ((), ("-servername", "mx.test"), ("-servername", "other.test")):
                    self.assertEqual(self.key_of(*flags, *name), kind, (order, flags, name))
            self.assertEqual(self.key_of(), "p256", order)
            self.server.stop()

    def test_one_alone_goes_to_all(self):
        for kind in ("p384", "p521"):
            self.start_with(self.make(kind))
            self.assertEqual(self.key_of("-tls1_3"), kind)
            self.assertEqual(self.key_of("-tls1_2"), kind)
            self.server.stop()

    def test_self_signed_for_either(self):
        self.start()
        self.assertEqual(self.key_of(), "p256")
        for kind, flags in self.ONLY:
            if kind != "p384":
                self.assertEqual(self.key_of(*flags), kind, flags)


class Kinds(KindCase):
    """What no handshake can use is refused at start, with the reason."""

    def check(self, files):
        server = mxtest.Server(self.directory, {"tls": {"certificate": files[0], "key": files[1]}},
                               start=False)
        done = subprocess.run([*server.command(), "-t"], capture_output=True, timeout=30)
        return done.returncode, done.stderr.decode()

    def test_refused_with_their_names(self):
        for kind, said in (("rsa-pss", "RSASSA-PSS"), ("rsa-pss-sha256", "RSASSA-PSS"),
                           ("ed25519", "Ed25519"), ("ed448", "Ed448"),
                           ("secp256k1", "a curve that TLS clients do not know"),
                           ("brainpool", "a curve that TLS clients do not know")):
            code, text = self.check(self.make(kind))
            self.assertEqual(code, 78, (kind, text))
            self.assertIn(f"its key is of the kind {'ECDSA, on ' if 'curve' in said else ''}{said}",
                          text)

    def test_an_rsa_key_signed_with_pss_is_an_rsa_key(self):
        files = self.make("rsa", "mx.test", "-sigopt", "rsa_padding_mode:pss")
        code, text = self.check(files)
        self.assertEqual(code, 0, text)
        self.start_with(files)
        self.assertEqual(self.key_of("-tls1_2"), "rsa")
        self.assertEqual(self.key_of("-tls1_3"), "rsa")

    def test_accepted_kinds(self):
        for kind in ("p256", "p384", "p521", "rsa"):
            code, text = self.check(self.make(kind))
            self.assertEqual(code, 0, (kind, text))


class Names(KindCase):
    """No session is resumed under another server name (RFC 6066 3)."""

    def resumed(self, *flags):
        good, text = self.attempt(*flags)
        self.assertTrue(good, text)
        subject = re.search(r"subject=CN ?= ?(\S+)", text)[1]
        return "\nReused, " in text, subject

    def test_resumption_is_for_one_name(self):
        self.start_with(self.make("rsa", "mx.test"), self.make("rsa", "other.test"))
        session = os.path.join(self.directory, "session")
        for version in ("-tls1_2", "-tls1_3"):
            first = ("-servername", "mx.test", version)
            self.keep_session(first, session)
            self.assertEqual(self.resumed(*first, "-sess_in", session), (True, "mx.test"))
            self.assertEqual(self.resumed("-servername", "other.test", version, "-sess_in", session),
                             (False, "other.test"))
            self.assertFalse(self.resumed("-noservername", version, "-sess_in", session)[0])

    def keep_session(self, flags, path):
        """A ticket of TLS 1.3 comes after the handshake: the banner shows that it is here."""
        client = subprocess.Popen([self.need("openssl"), "s_client", "-connect",
                                   "%s:%d" % self.tls_address, *flags, "-sess_out", path],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
        line = b""
        while not line.startswith(b"220 "):
            line = client.stdout.readline()
            self.assertTrue(line, "the connection ended")
        client.communicate(b"QUIT\r\n", timeout=20)
        self.assertEqual(client.returncode, 0)


class FirstSteps(TlsCase):
    """nodemailer against a server without a certificate of its own, as its first user does it."""

    NODE = """
const nodemailer = require('nodemailer');
const [port, options] = process.argv.slice(2);
const transport = nodemailer.createTransport(
    {host: '127.0.0.1', port: Number(port), name: 'node.test', ...JSON.parse(options)});
transport.sendMail({from: 'a@client.test', to: 'b@mx.test', subject: 'hello', text: 'hello'})
  .then(() => { transport.close(); console.log('sent'); })
  .catch(error => { console.log(error.code + ' ' + error.message); process.exit(3); });
"""

    def send(self, port, options):
        modules = os.path.join(mxtest.NODE_DIR, "node_modules")
        if not os.path.isdir(os.path.join(modules, "nodemailer")):
            self.skipTest("nodemailer is not installed (./run.sh test installs it)")
        script = os.path.join(self.directory, "send.js")
        with open(script, "w") as out:
            out.write(self.NODE)
        done = subprocess.run([self.need("node", "/usr/bin/nodejs"), script, str(port),
                               json.dumps(options)], capture_output=True, timeout=60,
                              env=dict(os.environ, NODE_PATH=modules))
        return done.returncode, done.stdout.decode() + done.stderr.decode()

    def test_what_the_welcome_says_is_what_works(self):
        self.server = self.serve({"listen": {"smtp": ["127.0.0.1:0"], "smtps": ["127.0.0.1:0"]}},
                                 args=["--welcome"])
        self.log = Log(self.server.log_dir)
        port, implicit = self.server.port, endpoint(self.server)[1]
        code, text = self.send(port, {})
        self.assertEqual(code, 3, text)  # its defaults take STARTTLS, and check
        self.assertIn("self-signed certificate", text)
        welcome = self.server.output_until("Ctrl-C")
        advice = re.search(r"tls: \{rejectUnauthorized: false\}", welcome)
        self.assertIsNotNone(advice, welcome)
        options = json.loads(re.sub(r"(\w+):", r'"\1":', "{" + advice[0] + "}"))
        self.assertEqual(self.send(port, options), (0, "sent\n"))
        self.assertEqual(self.send(implicit, {**options, "secure": True}), (0, "sent\n"))
        self.assertEqual([record["tls"]["version"] for record in self.log.records()],
                         ["TLSv1.3", "TLSv1.3"])

    def test_with_a_certificate_that_it_trusts(self):
        certificate, key = make_certificate(self, "own", hosts=("localhost",))
        self.start({"certificate": certificate, "key": key})
        with open(certificate) as pem:
            trusted = {"ca": pem.read(), "servername": "localhost"}
        self.assertEqual(self.send(self.server.port, {"tls": trusted}), (0, "sent\n"))


if __name__ == "__main__":
    mxtest.main()
