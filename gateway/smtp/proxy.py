"""The PROXY protocol's header, versions 1 and 2, without any input or output.

A load balancer in front of us says with it who the client is (the PROXY protocol, HAProxy project,
versions 1 & 2, 2020/03/05). It must be complete before the greeting, and only named networks may
send it: whoever may send one can pretend to be anybody.
"""

import ipaddress
import re
import struct
from dataclasses import dataclass

_V1 = b"PROXY "
_V1_MOST_BYTES = 107  # section 2.1, with CR LF
_V1_LINE = re.compile(rb"PROXY (TCP4|TCP6) (\S{2,39}) (\S{2,39}) ([0-9]{1,5}) ([0-9]{1,5})\Z")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\Z")
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD = struct.Struct("!12sBBH")
_V2_MOST_BYTES = 4096  # with all TLVs; a TLS certificate may be among them
_V2_LOCAL, _V2_PROXY = 0x20, 0x21
_V2_UNSPECIFIED = 0x00
_V2_ADDRESSES = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}  # TCP only


class ProxyHeaderError(Exception):
    """What came is no PROXY header; the text is for our log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeader:
    """Who the client is, and how long the header was.

    ``ip`` is empty when the proxy speaks for itself (LOCAL, its health check) or does not know.
    """

    ip: str
    port: int
    size_bytes: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Read a header from the first bytes of a connection; None: more bytes are needed.

    Raises:
        ProxyHeaderError: these bytes cannot become a header.
    """
    if data[: len(_V2)] == _V2[: len(data)]:
        return _version_2(data)
    if data[: len(_V1)] == _V1[: len(data)]:
        return _version_1(data)
    raise ProxyHeaderError("no PROXY header")


def _version_1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _V1_MOST_BYTES)
    if end < 0:
        if len(data) >= _V1_MOST_BYTES:
            raise ProxyHeaderError("overlong PROXY header")
        return None
    size_bytes = end + 2
    line = data[:end]
    if _V1_UNKNOWN.match(line):
        return ProxyHeader(ip="", port=0, size_bytes=size_bytes)
    found = _V1_LINE.match(line)
    if found is None:
        raise ProxyHeaderError("malformed PROXY header")
    kind = ipaddress.IPv4Address if found[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        source, _ = (kind(found[n].decode("ascii")) for n in (2, 3))
    except ValueError as error:  # UnicodeDecodeError is one
        raise ProxyHeaderError(f"bad address in PROXY header: {error}") from error
    ports = [int(found[n]) for n in (4, 5)]
    if max(ports) > 65535:
        raise ProxyHeaderError("bad port in PROXY header")
    return ProxyHeader(ip=str(source), port=ports[0], size_bytes=size_bytes)


def _version_2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_HEAD.size:
        return None
    _, command, family, length = _V2_HEAD.unpack_from(data)
    size_bytes = _V2_HEAD.size + length
    if size_bytes > _V2_MOST_BYTES:
        raise ProxyHeaderError("overlong PROXY header")
    if command not in {_V2_LOCAL, _V2_PROXY}:
        raise ProxyHeaderError(f"PROXY version and command {command:#04x}")
    if len(data) < size_bytes:
        return None
    if command == _V2_LOCAL or family == _V2_UNSPECIFIED:
        return ProxyHeader(ip="", port=0, size_bytes=size_bytes)
    addresses = _V2_ADDRESSES.get(family)
    if addresses is None or length < addresses.size:  # what is beyond them are TLVs
        raise ProxyHeaderError(f"PROXY family {family:#04x} with {length} octets")
    source, _, port, _ = addresses.unpack_from(data, _V2_HEAD.size)
    return ProxyHeader(ip=str(ipaddress.ip_address(source)), port=port, size_bytes=size_bytes)
