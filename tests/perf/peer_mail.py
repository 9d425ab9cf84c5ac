"""The mail and the DNS of the comparison: most messages carry a DKIM signature that verifies.

Every sender's domain gets SPF, DMARC and a DKIM key in the zone; two messages of three are signed
as their author's domain would sign them, with one 2048-bit test key made for the run.
"""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.core.addresses import parse_address
from gateway.core.errors import AddressError
from models.message import scan
from tests.perf.end_to_end import block_lists
from tests.perf.real_mail import RealMail

SELECTOR = "bench"
SIGNED_OF_TEN = 7
_FIELDS = [b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"]
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerMail:
    """Messages of the run, how many of them are signed, and the zone that vouches for them."""

    mails: list[RealMail]
    signed: int
    zone: dict[str, dict[str, list[str]]]


def prepare(mails: list[RealMail], network: str) -> PeerMail:
    """Sign and publish; ``network`` is where the clients send from, for SPF."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    chosen: list[RealMail] = []
    signed = 0
    domains: set[str] = set()
    for mail, address, domain in _with_senders(mails):
        domains.add(domain)
        content = mail.content
        if len(chosen) % 10 < SIGNED_OF_TEN:
            content, done = _signed(content, domain, pem)
            signed += done
        chosen.append(replace(mail, content=content, sender=address))
    return PeerMail(mails=chosen, signed=signed, zone=_zone(domains, key.public_key(), network))


def _with_senders(mails: list[RealMail]) -> Iterator[tuple[RealMail, str, str]]:
    """Messages whose From names an ordinary mailbox, which is then the envelope's sender too."""
    for mail in mails:
        written = scan(mail.content).from_address
        try:
            address = parse_address(written)
        except AddressError:
            continue
        plain = re.fullmatch(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+", written)
        if plain and _DOMAIN.match(address.domain):
            yield mail, written, address.domain


def _signed(content: bytes, domain: str, pem: bytes) -> tuple[bytes, bool]:
    try:
        field = dkim.sign(
            content,
            SELECTOR.encode(),
            domain.encode(),
            pem,
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=[name for name in _FIELDS if _has(content, name)],
        )
    except dkim.DKIMException:  # a header section that cannot be signed stays as it is
        return content, False
    return field.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + content, True


def _has(content: bytes, name: bytes) -> bool:
    head = content[: content.find(b"\r\n\r\n") + 2].lower()
    return head.startswith(name + b":") or b"\r\n" + name + b":" in head


def _zone(
    domains: set[str], key: rsa.RSAPublicKey, network: str
) -> dict[str, dict[str, list[str]]]:
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    zone = block_lists()
    for domain in domains:
        zone[domain] = {
            "TXT": [f'"v=spf1 ip4:{network}.0.0/16 -all"'],
            "A": ["198.18.0.1"],
            "MX": [f"10 mail.{domain}."],
        }
        zone[f"mail.{domain}"] = {"A": ["198.18.0.1"]}
        zone[f"{SELECTOR}._domainkey.{domain}"] = {"TXT": [_key_text(der)]}
        zone[f"_dmarc.{domain}"] = {"TXT": ['"v=DMARC1; p=none"']}
    return zone


def _key_text(der: bytes) -> str:
    """The key's record, in strings of at most 255 octets (RFC 6376 §3.6.2.2)."""
    text = "v=DKIM1; k=rsa; p=" + b64encode(der).decode()
    return " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))
