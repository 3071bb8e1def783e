"""A record and its metadata, and what comes in a record's place."""

from __future__ import annotations

import datetime
import hashlib
import json
import struct
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ._errors import Damaged

_FIELD = struct.Struct("<HI")
_RANGE = struct.Struct("<QQ")
_NUMBERS = {2: 2, 12: 4}  # tag: bytes
_NOTIFY = ((1, "never"), (2, "success"), (4, "failure"), (8, "delay"))
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class Gap(NamedTuple):
    """Records [first, next) do not come: `why` is "removed" (by retention) or "damaged"."""

    first: int
    next: int
    why: str


class Recipient(NamedTuple):
    address: str
    original: Optional[str]  # ORCPT as given, xtext
    notify: Tuple[str, ...]  # NOTIFY: "never", or some of "success", "failure", "delay"


def _fields(metadata: bytes) -> Dict[int, List[bytes]]:
    fields: Dict[int, List[bytes]] = {}
    at, end = 0, len(metadata)
    while at < end:
        if end - at < _FIELD.size:
            raise Damaged("a metadata field is cut off")
        tag, size = _FIELD.unpack_from(metadata, at)
        at += _FIELD.size
        if size > end - at:
            raise Damaged(f"metadata field {tag} reaches beyond the metadata")
        if size != _NUMBERS.get(tag, size) or (tag == 18 and size != _RANGE.size):
            raise Damaged(f"metadata field {tag} has {size} bytes")
        fields.setdefault(tag, []).append(metadata[at:at + size])
        at += size
    return fields


def _recipient(field: bytes) -> Recipient:
    size = int.from_bytes(field[1:3], "little")
    if len(field) < 3 + size:
        raise Damaged("a recipient reaches beyond its field")
    original = field[3 + size:].decode("utf-8", "replace")
    return Recipient(field[3:3 + size].decode("utf-8", "replace"), original or None,
                     tuple(word for bit, word in _NOTIFY if field[0] & bit))


class Record:
    """One message as it was received, and what was found out about it.

    Its bytes are its own. Texts from the network that are not UTF-8 have U+FFFD in them; `metadata`
    has the bytes themselves. What the metadata says is taken apart when it is first asked for.
    """

    __slots__ = ("offset", "received_at_us", "log_id", "message", "metadata", "_taken_apart")

    def __init__(self, offset: int, received_at_us: int, log_id: Optional[str], message: bytes,
                 metadata: bytes) -> None:
        self.offset = offset
        self.received_at_us = received_at_us
        self.log_id = log_id
        self.message = message
        self.metadata = metadata
        self._taken_apart: Optional[Dict[int, List[bytes]]] = None

    def __repr__(self) -> str:
        return f"<Record {self.id or self.offset}, {len(self.message)} bytes>"

    @property
    def id(self) -> Optional[str]:
        """`<log id>_<offset>`, the same for ever; None in a segment older than log ids."""
        return None if self.log_id is None else f"{self.log_id}_{self.offset}"

    @property
    def received_at(self) -> datetime.datetime:
        return _EPOCH + datetime.timedelta(microseconds=self.received_at_us)

    def field(self, tag: int) -> List[bytes]:
        """The metadata fields with this tag of FORMAT.md."""
        if self._taken_apart is None:
            self._taken_apart = _fields(self.metadata)
        return self._taken_apart.get(tag, [])

    def _text(self, tag: int) -> str:
        values = self.field(tag)
        return values[-1].decode("utf-8", "replace") if values else ""

    def _number(self, tag: int) -> int:
        values = self.field(tag)
        return int.from_bytes(values[-1], "little") if values else 0

    def _json(self, tag: int) -> Any:
        text = self._text(tag)
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError:
            raise Damaged(f"metadata field {tag} of record {self.offset} is no JSON") from None

    @property
    def client_ip(self) -> str:
        return self._text(1)

    @property
    def client_port(self) -> int:
        return self._number(2)

    @property
    def helo(self) -> str:
        return self._text(3)

    @property
    def client_name(self) -> Optional[str]:
        """The client's reverse name, when it leads back to the address."""
        return self._text(4) or None

    @property
    def via(self) -> Optional[Dict[str, Any]]:
        """`ip port protocol` of the balancer that spoke for the client; None without one."""
        return self._json(23)  # type: ignore[no-any-return]

    @property
    def tls(self) -> Optional[Dict[str, Any]]:
        """`version cipher sni resumed group ja4`; the last two not in older records."""
        return self._json(5)  # type: ignore[no-any-return]

    @property
    def protocol(self) -> str:
        return self._text(6)

    @property
    def mail_from(self) -> str:
        """Without angle brackets; "" is the null reverse-path, of bounces."""
        return self._text(7)

    @property
    def recipients(self) -> List[Recipient]:
        return [_recipient(field) for field in self.field(8)]

    @property
    def rcpt_to(self) -> List[str]:
        return [recipient.address for recipient in self.recipients]

    @property
    def envelope_id(self) -> Optional[str]:
        return self._text(9) or None

    @property
    def dsn_return(self) -> Optional[str]:
        return self._text(10) or None

    @property
    def body_type(self) -> Optional[str]:
        return self._text(11) or None

    @property
    def smtputf8(self) -> bool:
        return bool(self._number(12) & 1)

    @property
    def long_line(self) -> bool:
        return bool(self._number(12) & 2)

    @property
    def requiretls(self) -> bool:
        return bool(self._number(12) & 4)

    @property
    def binary(self) -> bool:
        """Content that has no lines of text (BINARYMIME): it fits neither DATA nor an mbox."""
        return bool(self._number(12) & 8)

    @property
    def spf(self) -> Optional[Dict[str, Any]]:
        """None when not evaluated; else as `log cat --json` prints it. So are dkim and dmarc."""
        return self._json(13)  # type: ignore[no-any-return]

    @property
    def dkim(self) -> List[Dict[str, Any]]:
        return self._json(14) or []

    @property
    def dmarc(self) -> Optional[Dict[str, Any]]:
        return self._json(15)  # type: ignore[no-any-return]

    @property
    def disposition(self) -> str:
        """`accept` or `quarantine`; `reject` and `tempfail` are refused mail, without a message."""
        return self._text(16)

    @property
    def is_refusal(self) -> bool:
        return self.disposition in ("reject", "tempfail")

    @property
    def trace(self) -> bytes:
        values = self.field(17)
        return values[-1] if values else b""

    @property
    def leave_out(self) -> List[Tuple[int, int]]:
        return [_RANGE.unpack(field) for field in self.field(18)]  # type: ignore[misc]

    @property
    def message_id(self) -> Optional[str]:
        return self._text(19) or None

    @property
    def header_from(self) -> Optional[str]:
        return self._text(20) or None

    @property
    def subject(self) -> Optional[str]:
        return self._text(21) or None

    @property
    def queue_id(self) -> Optional[str]:
        return self._text(22) or None

    @property
    def delivered(self) -> bytes:
        """Our trace fields on top, forged results removed."""
        parts = [self.trace]
        at, size = 0, len(self.message)
        for begin, end in self.leave_out:
            parts.append(self.message[at:max(at, min(begin, size))])
            at = max(at, min(end, size))
        parts.append(self.message[at:])
        return b"".join(parts)

    def as_dict(self) -> Dict[str, Any]:
        """What `mxring log cat --json` prints of it."""
        milliseconds = self.received_at_us // 1000
        moment = _EPOCH + datetime.timedelta(seconds=milliseconds // 1000)
        recipients = self.recipients
        tls = self.tls
        return {
            "id": self.id, "offset": self.offset,
            "received_at": f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z",
            "client": {"ip": self.client_ip, "port": self.client_port, "helo": self.helo,
                       "name": self.client_name, "via": self.via},
            "tls": tls, "mail_from": self.mail_from,
            "rcpt_to": [recipient.address for recipient in recipients],
            "size": len(self.message), "sha256": hashlib.sha256(self.message).hexdigest(),
            "spf": self.spf, "dkim": self.dkim, "dmarc": self.dmarc,
            "disposition": self.disposition, "message_id": self.message_id,
            "subject": self.subject, "from": self.header_from, "queue_id": self.queue_id,
            "protocol": self.protocol, "body_type": self.body_type, "smtputf8": self.smtputf8,
            "requiretls": self.requiretls, "long_line": self.long_line, "binary": self.binary,
            "envid": self.envelope_id, "ret": self.dsn_return,
            "recipients": [{"address": r.address, "orcpt": r.original, "notify": list(r.notify)}
                           for r in recipients],
        }
