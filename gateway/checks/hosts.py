"""Hosts and domains as rules compare them; no network, no list of public suffixes yet."""

import ipaddress

_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "gov", "net", "or", "org", "gob", "ne", "nom"})

_FREE_MAIL_DOMAINS = (
    "aol.com aol.de arcor.de bk.ru email.de foxmail.com freemail.hu freenet.de gmail.com gmx.at"
    " gmx.ch gmx.com gmx.de gmx.net googlemail.com hotmail.co.uk hotmail.com hotmail.de hotmail.fr"
    " hotmail.it hushmail.com icloud.com inbox.lv inbox.ru libero.it list.ru live.co.uk live.com"
    " live.de live.fr mail.bg mail.com mail.de mail.ru me.com msn.com o2.pl outlook.com outlook.de"
    " outlook.fr pm.me proton.me protonmail.com qq.com rambler.ru rediffmail.com rocketmail.com"
    " seznam.cz sina.com t-online.de tutanota.com ukr.net virgilio.it web.de wp.pl yahoo.co.in"
    " yahoo.co.jp yahoo.co.uk yahoo.com yahoo.de yahoo.es yahoo.fr yahoo.it yandex.com yandex.ru"
    " ymail.com zoho.com 126.com 163.com"
)
FREE_MAIL = frozenset(_FREE_MAIL_DOMAINS.split())
"""Domains where anyone gets a mailbox for nothing."""


def site(host: str) -> str:
    """The part of a host name that its owner registered, roughly.

    The last two labels, or three under a country's ``co``, ``com`` and the like. Good enough to
    tell whether two names belong together; nothing else may be built on it.
    """
    labels = host.lower().rstrip(".").split(".")
    if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL:
        return ".".join(labels[-3:])
    return ".".join(labels[-2:])


def domain_of(address: str) -> str:
    """What follows the last at sign, lower case; empty without one."""
    _, at, domain = address.rpartition("@")
    return domain.lower().rstrip(".") if at else ""


def host_of(url: str) -> str:
    """The host of a URL as a browser reads it, lower case; empty if there is none.

    A user name in front of the host (``http://bank.example@evil.example``) and the port are cut; a
    backslash ends the host as a slash does (WHATWG URL, special schemes).
    """
    _, colon, rest = url.partition("://")
    if not colon:
        return ""
    for end in "/\\?#":
        rest = rest.partition(end)[0]
    host = rest.rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def looks_like_host(text: str) -> bool:
    """Whether text has the form of a host name with a top-level domain of letters."""
    if not 4 <= len(text) <= 253 or not text.isascii():
        return False
    labels = text.split(".")
    if len(labels) < 2 or not labels[-1].isalpha() or len(labels[-1]) < 2:
        return False
    return all(label and label.replace("-", "").isalnum() for label in labels)


def numeric_address(host: str) -> str:
    """The public IP address a host of a URL is written as, also as one number; empty if a name."""
    try:
        if host.isdigit() and host.isascii() and len(host) <= 10:
            address = ipaddress.ip_address(int(host))
        elif host.startswith("0x") and len(host) <= 10:
            address = ipaddress.ip_address(int(host, 16))
        else:
            address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return str(address) if address.is_global else ""


def looks_like_private(host: str) -> bool:
    """Whether a host is written as an IP address that is not reached from outside."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
