"""The commented configuration that ``schwamm init`` writes."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What differs between two installations when they are born."""

    hostname: str
    smtp_port: int = 2525
    web_port: int = 8025
    language: str = "de"
    trial_dns_port: int = 0


_MAIN = """\
# Schwamm: infrastructure settings. Every name and its meaning: docs/settings.md.
# The environment overrides: SCHWAMM_SMTP__PORT=25 and so on. Relative paths start at this file.
# Customers, domains, people and lists are kept in the database: schwamm domain --help.

[node]
name = "n1"                 # names this machine in message ids; a-z and 0-9
language = {language}             # de or en: what people read when nothing else says which

[paths]
state = "var"               # records, journals, index, models, self-made certificate

[smtp]
host = "127.0.0.1"          # "0.0.0.0" or "::" to take mail from outside
port = {smtp_port}
hostname = {hostname}
workers = 0                 # 0: one per core
max_message_bytes = 52428800
# tls_certificate = "/etc/letsencrypt/live/mx.example.org/fullchain.pem"
# tls_key = "/etc/letsencrypt/live/mx.example.org/privkey.pem"
#                             without these two: a self-made certificate in the state directory

[web]
host = "127.0.0.1"
port = {web_port}

[log]
level = "info"              # debug, info, warning, error
format = "auto"             # console at a terminal, json elsewhere
personal_data = false       # true: addresses and subjects appear in the log

# Points of single symbols and the most a group may add; what is not named keeps its default.
[scores.symbols]
# FROM_NAME_HAS_OTHER_ADDRESS = 1.5
[scores.caps]
# headers = 3.0
"""

_LISTS = """
# Block lists (RFC 5782) are asked only after you turn them on: read each list's terms first,
# commercial hosting often needs a key. "codes" says which answers are listings; every other
# answer is an error.
# [[dnsbl]]
# zone = "zen.spamhaus.org"
# terms = "https://www.spamhaus.org/organization/dnsblusage/"
# codes = { "127.0.0.2" = "DNSBL_SBL", "127.0.0.4" = "DNSBL_XBL", "127.0.0.10" = "DNSBL_PBL" }
"""

_TRIAL = """
# The trial: a block list of our own on a DNS server of our own (loopback only), so that the whole
# path can be seen without asking anybody outside. Remove these three sections for real service.
[trial]
dns_port = {dns_port}
zone = "dnsbl.trial.example"
listed = ["127.0.0.66"]

[dns]
servers = ["127.0.0.1:{dns_port}"]

[[dnsbl]]
zone = "dnsbl.trial.example"
codes = {{ "127.0.0.2" = "DNSBL_TRIAL" }}
private_clients = true      # also ask about 127.x and private addresses; never for public lists
"""


def config_text(choices: Choices) -> str:
    """The text of a fresh ``gateway.toml``."""
    text = _MAIN.format(
        language=json.dumps(choices.language),
        hostname=json.dumps(choices.hostname),
        smtp_port=choices.smtp_port,
        web_port=choices.web_port,
    )
    text += _LISTS
    if choices.trial_dns_port:
        text += _TRIAL.format(dns_port=choices.trial_dns_port)
    return text
