"""Names that are asked of a block list, and what its answers mean (RFC 5782 §2)."""

import ipaddress

_LISTINGS = ipaddress.ip_network("127.0.0.0/8")
_REFUSALS = ipaddress.ip_network("127.255.255.0/24")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def read_address(ip: str) -> Address | None:
    """An address of either kind; an IPv4 address mapped into IPv6 is the IPv4 address."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def list_name(address: Address, zone: str) -> str:
    """The name to ask for: octets or nibbles backwards, then the zone (RFC 5782 §2.1 and §2.4)."""
    pointer = address.reverse_pointer
    return f"{pointer.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"


def error_of(record: str) -> str:
    """Which error an A record is, apart from the codes that mean a listing; empty: it may be one.

    ``blocked``: the list refuses to serve us. ``public_address``: no list answers that; the zone
    expired, was hijacked, or a resolver on the way lies.
    """
    address = read_address(record)
    if address is None or address not in _LISTINGS:
        return "public_address"
    return "blocked" if address in _REFUSALS else ""
