"""Jobs for python3-dkim (dkimpy): see dkim_interop_test.py. Run by the Python that has it."""

import base64
import json
import sys

import dkim
import dns.resolver

host, port = sys.argv[1].rsplit(":", 1)
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers = [host]
resolver.port = int(port)
resolver.cache = dns.resolver.Cache()


def lookup(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    try:
        answer = resolver.resolve(name, "TXT", lifetime=timeout)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return None
    return b"".join(answer[0].strings)


def private_key(file, algorithm):
    with open(file, "rb") as pem:
        text = pem.read()
    if algorithm != "ed25519-sha256":
        return text
    # It takes the 32 bytes of the seed, which end the PKCS #8 structure.
    der = base64.b64decode(b"".join(line for line in text.splitlines() if b"-" not in line))
    return base64.b64encode(der[-32:])


def run(job):
    with open(job["file"], "rb") as source:
        message = source.read()
    if job["op"] == "verify":
        return "pass" if dkim.verify(message, dnsfunc=lookup) else "fail"
    header, body = job["c"].encode().split(b"/")
    signature = dkim.sign(message, job["selector"].encode(), job["domain"].encode(),
                          private_key(job["key"], job["a"]), canonicalize=(header, body),
                          signature_algorithm=job["a"].encode())
    with open(job["out"], "wb") as out:
        out.write(signature + message)
    return "signed"


for line in sys.stdin:
    given = json.loads(line)
    try:
        result = run(given)
    except Exception as problem:  # whatever it is, it is the result of this job
        result = f"error: {type(problem).__name__}: {problem}"
    print(json.dumps({"file": given["file"], "result": result}))
