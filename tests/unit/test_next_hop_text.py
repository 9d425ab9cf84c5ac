"""What a person may write for a next hop, and what is told to be wrong."""

import pytest

from gateway.core.errors import ConfigError
from gateway.core.routing import NextHop, NextHopKind, TlsPolicy, parse_next_hop


@pytest.mark.parametrize(
    ("text", "kind", "host", "port", "again"),
    [
        ("mail.example.org:25", "smtp", "mail.example.org", 25, "mail.example.org:25"),
        ("smtp:mail.example.org:25", "smtp", "mail.example.org", 25, "mail.example.org:25"),
        ("smtp://mail.example.org:25", "smtp", "mail.example.org", 25, "mail.example.org:25"),
        ("lmtp:127.0.0.1:24", "lmtp", "127.0.0.1", 24, "lmtp:127.0.0.1:24"),
        ("lmtp://127.0.0.1:24", "lmtp", "127.0.0.1", 24, "lmtp:127.0.0.1:24"),
        ("[2001:db8::1]:25", "smtp", "2001:db8::1", 25, "[2001:db8::1]:25"),
        ("lmtp:[::1]:24", "lmtp", "::1", 24, "lmtp:[::1]:24"),
        ("mail_1:2525", "smtp", "mail_1", 2525, "mail_1:2525"),
        ("mail.müller.example:25", "smtp", "mail.müller.example", 25, "mail.müller.example:25"),
    ],
)
def test_what_is_understood(text: str, kind: str, host: str, port: int, again: str) -> None:
    expected = NextHop(kind=NextHopKind(kind), host=host, port=port)
    assert parse_next_hop(text) == expected
    assert str(expected) == again
    assert parse_next_hop(again) == expected


def test_tls_follows_the_port() -> None:
    hop = parse_next_hop("mail.example.org:25?tls=verify")
    assert (hop.host, hop.tls) == ("mail.example.org", TlsPolicy.VERIFY)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", ":25", "host", "host:", "host:0", "host:65536", "host:-1", "host:abc"),
        *("host:٢٥", "::1", "2001:db8::1", "2001:db8::1:25", "[::1]", "[::1:25", "[nonsense]:25"),
        *("[127.0.0.1]:25", "http://host:25", "//host:25", "///host:25", "a b:25", "a/b:25"),
        *("user@host:25", "host:25:26", "-host:25", "lmtp:/run/dovecot/lmtp", "lmtp:", "smtp://"),
        *("maildir:", "maildir:relative", "host:25?tls=", "host:25?tls=always", "host\n:25"),
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="next hop"):
        parse_next_hop(text)
