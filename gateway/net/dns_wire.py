"""DNS messages on the wire (RFC 1035 §4): one question out, one answer in.

Frequent record types are read here, because dnspython's message layer costs 0.12 ms to parse and
0.07 ms to follow an answer, more than the whole budget of a query; a test holds this reader against
dnspython on many messages. Other record types are left to dnspython. Answers are hostile: every
read is bounded, compression pointers only go back, aliases are followed a fixed number of times.
"""

import os
import socket
import struct
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.rdatatype

from gateway.core.dns import MalformedAnswerError, MalformedNameError

UDP_PAYLOAD = 1232  # what passes every path unfragmented; DNS flag day 2020
_TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
_CLASS_IN = 1
_MAX_ALIASES = 8
_MAX_POINTERS = 16  # of one name; honest names have one or two
_MAX_RECORDS = 512  # of one message; an honest answer has far fewer
_OPT = struct.pack("!BHHIH", 0, 41, UDP_PAYLOAD, 0, 0)  # EDNS(0), RFC 6891 §6.1.2
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_CASE_BITS = bytes(0x20 if chr(code).isalpha() and code < 128 else 0 for code in range(256))
_RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question: its key for cache and matching, and its octets in lower case."""

    name: str
    rdtype: str
    wire: bytes  # name, type and class

    @property
    def key(self) -> tuple[str, str]:
        """What makes two questions the same."""
        return (self.name, self.rdtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer as read from the wire; ``truncated`` means: ask again over TCP."""

    rcode: str
    truncated: bool
    records: tuple[str, ...] = ()
    ttl_s: int | None = None  # None: nothing in the message allows to keep it (RFC 2308 §5)


def make_question(name: str, rdtype: str) -> Question:
    """Put a name and a record type into the wire's form; the empty name is the root.

    Raises:
        MalformedNameError: for an overlong name, an empty or overlong label, non-ASCII, blanks.
    """
    lower = name.removesuffix(".").lower()
    labels = lower.split(".") if lower else []
    if len(lower) > 253 or not lower.isascii() or not lower.isprintable() or " " in lower:
        raise MalformedNameError(f"no name to ask for: {name[:80]!r}")
    if any(not 1 <= len(label) <= 63 for label in labels):
        raise MalformedNameError(f"empty or overlong label in {name[:80]!r}")
    packed = b"".join(bytes((len(label),)) + label.encode("ascii") for label in labels)
    wire = packed + b"\0" + struct.pack("!HH", _type_number(rdtype), _CLASS_IN)
    return Question(name=lower, rdtype=rdtype, wire=wire)


def _type_number(rdtype: str) -> int:
    known = _TYPES.get(rdtype)
    if known is not None:
        return known
    try:
        return int(dns.rdatatype.from_text(rdtype))
    except (dns.rdatatype.UnknownRdatatype, ValueError) as error:
        raise MalformedNameError(f"no such record type: {rdtype[:20]!r}") from error


def randomise_case(question: bytes) -> bytes:
    """The question with letters in random case (0x20): up to one more bit a letter to guess.

    Servers copy the question octet by octet, so an answer forged by someone who does not see our
    queries has to guess it (Dagon et al. 2008, "Increased DNS Forgery Resistance").
    """
    name, tail = question[:-4], question[-4:]
    mask = int.from_bytes(name.translate(_CASE_BITS), "big")
    noise = int.from_bytes(os.urandom(len(name)), "big") & mask
    return (int.from_bytes(name, "big") ^ noise).to_bytes(len(name), "big") + tail


def query_message(query_id: int, question: bytes) -> bytes:
    """A recursive query (RD) with EDNS(0)."""
    return _HEADER.pack(query_id, 0x0100, 1, 0, 0, 1) + question + _OPT


def matches(message: bytes, question: bytes) -> bool:
    """Whether a message answers exactly this question, its letters' case included.

    A refusal may leave the question out (RFC 1035 does not say; servers do), but then it can only
    say an error.
    """
    if len(message) < 12:
        return False
    counts: tuple[int, ...] = _HEADER.unpack_from(message)
    _, flags, questions, answers, _, _ = counts
    if not flags & 0x8000:
        return False
    if questions == 0:
        return bool(flags & 0xF) and answers == 0
    return questions == 1 and message[12 : 12 + len(question)] == question


def read_response(message: bytes, question: Question) -> Response:
    """Read an answer whose question was already compared by ``matches``.

    Raises:
        MalformedAnswerError: when it cannot be read or contradicts itself.
    """
    _, flags, questions, answers, authorities, _ = _HEADER.unpack_from(message)
    rcode = _RCODES.get(flags & 0xF, "OTHER")
    truncated = bool(flags & 0x0200)
    if truncated or questions == 0 or rcode not in {"NOERROR", "NXDOMAIN"}:
        return Response(rcode=rcode, truncated=truncated)
    if answers + authorities > _MAX_RECORDS:
        raise MalformedAnswerError("an answer with too many records")
    if question.rdtype not in _TYPES:
        return _read_with_dnspython(message, rcode)
    try:
        return _read(message, question, rcode, answers, authorities)
    except (IndexError, struct.error, ValueError) as error:
        raise MalformedAnswerError(f"an answer that cannot be read: {error}") from error


def _read(
    message: bytes, question: Question, rcode: str, answers: int, authorities: int
) -> Response:
    wanted = _TYPES[question.rdtype]
    at = 12 + len(question.wire)
    found: dict[str, list[tuple[int, int, int, int]]] = {}
    for _ in range(answers):
        owner, rtype, ttl, start, at = _read_record(message, at)
        if rtype in {wanted, 5}:
            found.setdefault(owner, []).append((rtype, ttl, start, at))
    name, ttl_s = question.name, 0x7FFFFFFF
    for _ in range(_MAX_ALIASES):
        here = found.get(name, [])
        wanted_here = [record for record in here if record[0] == wanted]
        if wanted_here:
            if rcode == "NXDOMAIN":
                raise ValueError("NXDOMAIN with an answer")
            texts = tuple(_text(message, *record) for record in wanted_here)
            ttl_s = min(ttl_s, *(record[1] for record in wanted_here))
            return Response(rcode=rcode, truncated=False, records=texts, ttl_s=ttl_s)
        if not here:
            break
        ttl_s = min(ttl_s, here[0][1])
        name = _read_name(message, here[0][2])[0]
    else:
        raise ValueError("aliases without end")
    negative_s = _negative_ttl(message, at, authorities, name)
    return Response(
        rcode=rcode, truncated=False, ttl_s=None if negative_s is None else min(ttl_s, negative_s)
    )


def _negative_ttl(message: bytes, at: int, authorities: int, name: str) -> int | None:
    """The lesser of the SOA's own TTL and its MINIMUM (RFC 2308 §5); None without a SOA."""
    for _ in range(authorities):
        owner, rtype, ttl, start, at = _read_record(message, at)
        if rtype == 6 and (owner in {"", name} or name.endswith("." + owner)):
            if at - start < 20:
                raise ValueError("short SOA")
            return min(ttl, int.from_bytes(message[at - 4 : at], "big") & 0x7FFFFFFF)
    return None


def _read_record(message: bytes, at: int) -> tuple[str, int, int, int, int]:
    """One resource record: owner, type, TTL, where its data starts and ends.

    A record of another class than IN is returned with type 0, so nobody uses it.
    """
    owner, at = _read_name(message, at)
    rtype, rclass, ttl, length = _RECORD.unpack_from(message, at)
    start = at + 10
    if start + length > len(message):
        raise ValueError("record beyond the end")
    if ttl > 0x7FFFFFFF:
        ttl = 0  # RFC 2181 §8
    return owner, rtype if rclass == _CLASS_IN else 0, ttl, start, start + length


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    """A name in lower case without last dot, and where the reader goes on (RFC 1035 §4.1.4).

    Pointers must go back before every place read so far, so there is no loop, and their number and
    the name's 255 octets bound the work. A dot inside a label is escaped (RFC 1035 §5.1).
    """
    labels: list[str] = []
    size, after, lowest, pointers = 1, -1, at, 0
    while length := message[at]:
        if length < 64:
            end = at + 1 + length
            size += 1 + length
            if size > 255 or end >= len(message):
                raise ValueError("overlong name")
            labels.append(message[at + 1 : end].decode("latin-1").replace(".", "\\."))
            at = end
        elif length >= 192:
            target = (length & 63) << 8 | message[at + 1]
            if after < 0:
                after = at + 2
            pointers += 1
            if target >= lowest or pointers > _MAX_POINTERS:
                raise ValueError("compression pointer that does not go back")
            at = lowest = target
        else:
            raise ValueError("unknown kind of label")
    return ".".join(labels).lower(), after if after >= 0 else at + 1


def _text(message: bytes, rtype: int, _ttl: int, start: int, end: int) -> str:
    """The record's data as ``Answer.records`` promises it."""
    match rtype:
        case 1:
            return socket.inet_ntop(socket.AF_INET, message[start:end])
        case 28:
            return socket.inet_ntop(socket.AF_INET6, message[start:end])
        case 16:
            return _joined_strings(message[start:end])
        case 15:
            preference = int.from_bytes(message[start : start + 2], "big")
            return f"{preference} {_name_within(message, start + 2, end)}"
        case 6:
            primary, at = _read_name(message, start)
            mailbox, at = _read_name(message, at)
            if end - at != 20:
                raise ValueError("SOA of wrong length")
            numbers = struct.unpack_from("!5I", message, at)
            return " ".join([primary, mailbox, *map(str, numbers)])
        case _:
            return _name_within(message, start, end)


def _name_within(message: bytes, start: int, end: int) -> str:
    name, after = _read_name(message, start)
    if after != end:
        raise ValueError("name of wrong length")
    return name


def _joined_strings(data: bytes) -> str:
    """The strings of one TXT record in a row (RFC 7208 §3.3, RFC 6376 §3.6.2.2)."""
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        length = data[at]
        if at + 1 + length > len(data):
            raise ValueError("TXT string beyond the end")
        pieces.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    if not pieces:
        raise ValueError("empty TXT record")
    return b"".join(pieces).decode("latin-1")


def _read_with_dnspython(message: bytes, rcode: str) -> Response:
    try:
        parsed = dns.message.from_wire(message)
        if not isinstance(parsed, dns.message.QueryMessage):
            raise MalformedAnswerError("no answer to a query")
        chain = parsed.resolve_chaining()
    except (dns.exception.DNSException, ValueError) as error:
        raise MalformedAnswerError(f"an answer that cannot be read: {error}") from error
    records = () if chain.answer is None else tuple(rdata.to_text() for rdata in chain.answer)
    has_soa = any(rrset.rdtype == dns.rdatatype.SOA for rrset in parsed.authority)
    keep = bool(records) or has_soa
    return Response(
        rcode=rcode, truncated=False, records=records, ttl_s=chain.minimum_ttl if keep else None
    )
