#!/usr/bin/env python3
"""Writes rsa_vectors.txt: RSA signatures that must and must not verify (PKCS #1 v1.5, SHA-256).

    make_rsa_vectors.py > rsa_vectors.txt

Keys and honest signatures come from the openssl command, the others from the private exponents;
openssl's own verification must agree with every expectation, or nothing is written. The keys are
made anew each time and thrown away.
"""
import hashlib
import os
import re
import subprocess
import tempfile

SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
SHA256_INFO_WITHOUT_NULL = bytes.fromhex("302f300b0609608648016503040201" + "0420")
SHA1_INFO = bytes.fromhex("3021300906052b0e03021a05000414")
SHA512_INFO = bytes.fromhex("3051300d060960864801650304020305000440")
MESSAGE = b"mxring: a message that somebody signed\r\n"
DIGEST = hashlib.sha256(MESSAGE).digest()


def openssl(*arguments, ok=True):
    done = subprocess.run(["openssl", *arguments], capture_output=True)
    if ok and done.returncode != 0:
        raise SystemExit(f"openssl {arguments}: {done.stderr.decode()}")
    return done.stdout if ok else done.returncode == 0


class Key:
    def __init__(self, folder, bits, exponent=65537):
        self.path = os.path.join(folder, f"{bits}-{exponent}.pem")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}", "-pkeyopt",
                f"rsa_keygen_pubexp:{exponent}", "-out", self.path)
        self.public = self.path + ".pub"
        openssl("pkey", "-in", self.path, "-pubout", "-out", self.public)
        self.der = openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")
        text = openssl("pkey", "-in", self.path, "-noout", "-text").decode()
        self.n = self.number(text, "modulus")
        self.d = self.number(text, "privateExponent")
        self.e = exponent
        self.bits = bits
        self.octets = (bits + 7) // 8

    @staticmethod
    def number(text, name):
        found = re.search(name + r":\s*\n((?:\s+[0-9a-f:]+\n)+)", text)
        return int(re.sub(r"[\s:]", "", found.group(1)), 16)

    def encoding(self, tail, padding=None):
        """00 01 padding 00 tail, filled up with FF where no padding is given."""
        if padding is None:
            padding = b"\xff" * (self.octets - 3 - len(tail))
        return b"\x00\x01" + padding + b"\x00" + tail

    def power(self, encoding):
        assert len(encoding) == self.octets
        value = int.from_bytes(encoding, "big")
        assert value < self.n
        return pow(value, self.d, self.n).to_bytes(self.octets, "big")

    def signed_with(self, *options):
        with tempfile.NamedTemporaryFile() as file:
            file.write(MESSAGE)
            file.flush()
            return openssl("dgst", "-sha256", "-sign", self.path, *options, file.name)


class Output:
    def __init__(self, folder):
        self.folder = folder
        self.lines = []

    def key(self, key):
        self.current = key
        self.lines.append(f"key {key.der.hex()}")

    def case(self, name, signature, valid=False, digest=DIGEST):
        signature_file = os.path.join(self.folder, "signature")
        digest_file = os.path.join(self.folder, "digest")
        with open(signature_file, "wb") as file:
            file.write(signature)
        with open(digest_file, "wb") as file:
            file.write(digest)
        verdict = openssl("pkeyutl", "-verify", "-pubin", "-inkey", self.current.public, "-sigfile",
                          signature_file, "-in", digest_file, "-pkeyopt", "digest:sha256", ok=False)
        if verdict != valid:
            raise SystemExit(f"openssl says {verdict} for {self.current.bits} bits: {name}")
        self.lines.append(f"case {'valid' if valid else 'invalid'} {digest.hex()} "
                          f"{signature.hex() or '-'} {self.current.bits} bits: {name}")


def honest(out, key):
    out.key(key)
    signature = key.signed_with()
    out.case("as openssl signs", signature, valid=True)
    out.case("another digest", signature, digest=hashlib.sha256(b"other").digest())
    return signature


def wrong_numbers(out, key, signature):
    s = int.from_bytes(signature, "big")
    n = key.n
    limit = 256 ** key.octets

    def number(name, value):
        if 0 <= value < limit:
            out.case(name, value.to_bytes(key.octets, "big"))

    number("zero", 0)
    number("one", 1)
    number("n - 1", n - 1)
    number("n", n)
    number("n + 1", n + 1)
    number("n - signature", n - s)
    number("signature + n", s + n)
    number("all ones", limit - 1)
    number("first bit wrong", s ^ 1 << (key.bits - 2))
    number("last bit wrong", s ^ 1)
    out.case("empty", b"")
    out.case("one octet short in front", signature[1:])
    out.case("one octet short behind", signature[:-1])
    out.case("a zero more in front", b"\x00" + signature)
    out.case("a zero more behind", signature + b"\x00")


def wrong_encodings(out, key):
    def signed(name, encoding):
        out.case(name, key.power(encoding))

    tail = SHA256_INFO + DIGEST
    fill = key.octets - 3 - len(tail)
    signed("no NULL in DigestInfo", key.encoding(SHA256_INFO_WITHOUT_NULL + DIGEST))
    signed("SHA-1 DigestInfo", key.encoding(SHA1_INFO + hashlib.sha1(MESSAGE).digest()))
    signed("SHA-1 DigestInfo, our digest cut", key.encoding(SHA1_INFO + DIGEST[:20]))
    signed("SHA-512 DigestInfo", key.encoding(SHA512_INFO + hashlib.sha512(MESSAGE).digest()))
    signed("no DigestInfo", key.encoding(DIGEST))
    for name, at in (("first", 0), ("middle", fill // 2), ("last", fill - 1)):
        for octet in (0xfe, 0x7f, 0x00):
            padding = bytearray(b"\xff" * fill)
            padding[at] = octet
            signed(f"{name} padding octet {octet:02x}", key.encoding(tail, bytes(padding)))
    whole = key.encoding(tail)
    signed("block type 0", b"\x00\x00" + whole[2:])
    signed("block type 2", b"\x00\x02" + whole[2:])
    signed("no separator", whole[:2 + fill] + b"\xff" + whole[3 + fill:])
    signed("separator 01", whole[:2 + fill] + b"\x01" + whole[3 + fill:])
    signed("eight octets of padding, garbage behind",
           key.encoding(tail, b"\xff" * 8) + b"\x5a" * (fill - 8))
    signed("eight octets of padding, garbage in the parameters",
           key.encoding(info_with_parameters(key.octets - 11), b"\xff" * 8))
    signed("one padding octet fewer, a zero behind",
           key.encoding(tail, b"\xff" * (fill - 1)) + b"\x00")
    signed("last octet of the digest wrong", whole[:-1] + bytes([whole[-1] ^ 1]))
    signed("tag of the digest wrong", key.encoding(SHA256_INFO[:17] + b"\x03\x20" + DIGEST))
    signed("long form of a length",
           key.encoding(bytes.fromhex("308131300d060960864801650304020105000420") + DIGEST))
    out.case("PSS", key.signed_with("-sigopt", "rsa_padding_mode:pss"))


def der(tag, content):
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | octets]) + length.to_bytes(octets, "big") + content


def info_with_parameters(size):
    """A well-formed DigestInfo of `size` octets, filled up inside the algorithm's parameters."""
    oid = bytes.fromhex("0609608648016503040201")
    for junk in range(size):
        info = der(0x30, der(0x30, oid + der(0x04, b"\x5a" * junk)) + der(0x04, DIGEST))
        if len(info) == size:
            return info
    raise SystemExit(f"no DigestInfo of {size} octets")


def cube_root(value):
    low, high = 0, 1 << (value.bit_length() // 3 + 2)
    while low < high:
        middle = (low + high) // 2
        if middle ** 3 < value:
            low = middle + 1
        else:
            high = middle
    return low


def low_cube_root(tail, bits):
    """s with s^3 = tail mod 2^bits; tail must be odd."""
    root = 1
    for bit in range(1, bits):
        if (root ** 3 ^ tail) >> bit & 1:
            root |= 1 << bit
    assert (root ** 3 ^ tail) % (1 << bits) == 0
    return root


def forged_without_the_key(out, key):
    """Bleichenbacher's forgeries of 2006 for e = 3: no private key, only a cube root."""
    octets = key.octets
    tail = SHA256_INFO + DIGEST
    for fill in (8, 1, 0):
        front = b"\x00\x01" + b"\xff" * fill + b"\x00" + tail
        target = int.from_bytes(front + b"\x00" * (octets - len(front)), "big")
        root = cube_root(target)
        cube = (root ** 3).to_bytes(octets, "big")
        assert cube.startswith(front)
        out.case(f"forged by a cube root, {fill} octets of padding", root.to_bytes(octets, "big"))
    # The digest right at the end as well, for those who look from behind. Only odd digests have
    # such a root; the message is changed until its digest is odd.
    counter = 0
    while True:
        digest = hashlib.sha256(MESSAGE + str(counter).encode()).digest()
        if digest[-1] & 1:
            break
        counter += 1
    tail_bits = 8 * (len(SHA256_INFO) + 33)
    wanted = int.from_bytes(b"\x00" + SHA256_INFO + digest, "big")
    root = low_cube_root(wanted, tail_bits)
    front = b"\x00\x01" + b"\xff" * 8
    high = cube_root(int.from_bytes(front + b"\x80" + b"\x00" * (octets - len(front) - 1), "big"))
    root = high >> tail_bits << tail_bits | root
    cube = (root ** 3).to_bytes(octets, "big")
    assert cube.startswith(front) and cube.endswith(b"\x00" + SHA256_INFO + digest)
    out.case("forged by a cube root from both ends", root.to_bytes(octets, "big"), digest=digest)


def main():
    with tempfile.TemporaryDirectory() as folder:
        out = Output(folder)
        for bits in (1024, 2048):
            key = Key(folder, bits)
            wrong_numbers(out, key, honest(out, key))
            wrong_encodings(out, key)
        for bits in (1025, 1031, 1039, 1536, 1663, 2047, 2079, 3072, 3119, 4095, 4096):
            key = Key(folder, bits)
            signature = honest(out, key)
            out.case("last bit wrong", signature[:-1] + bytes([signature[-1] ^ 1]))
        for exponent in (17, 257):
            honest(out, Key(folder, 2048, exponent))
        key = Key(folder, 3072, 3)
        honest(out, key)
        forged_without_the_key(out, key)
        print("# Made by make_rsa_vectors.py with", openssl("version").decode().strip())
        print("# key SUBJECT-PUBLIC-KEY-INFO; case EXPECTATION SHA-256 SIGNATURE NAME")
        print("\n".join(out.lines))


main()
