"""Headers as today's mail systems write them, for ham and spam alike.

The public corpora have no recent ham, so a model that sees recent headers only around spam takes
`gmail.com`, `DKIM-Signature` or `Content-Language` for signs of spam. The templates here were
written for this project after the habits of common mail systems; whoever uses one of them says
nothing about wanted or unwanted, so both classes are shown in them in the same share
(`training.baseline.lessons`), and what they have in common stops speaking for either.
"""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from training.baseline_sources import as_html, kept_fields

_OWN_FIELDS: Final = re.compile(rb"(?i)(?:subject):")
_FROM_FIELD: Final = re.compile(rb"(?i)from:")
_DISPLAY_NAME: Final = re.compile(rb'"?([A-Za-z][A-Za-z .\'-]{1,30}[A-Za-z])"?\s*<')

_FREEMAIL: Final = (
    "gmail.com", "gmx.de", "gmx.net", "web.de", "t-online.de", "outlook.com", "hotmail.de",
    "icloud.com", "yahoo.de", "freenet.de", "posteo.de", "mailbox.org",
)  # fmt: skip
_WORDS: Final = (
    "nord", "sued", "berg", "tal", "holz", "werk", "haus", "bau", "licht", "stein", "wasser",
    "garten", "technik", "service", "handel", "praxis", "kanzlei", "verlag", "online", "media",
)  # fmt: skip
_TOP: Final = ("de", "com", "net", "org", "eu", "at", "ch", "info")
_PEOPLE: Final = (
    "info", "kontakt", "office", "mail", "service", "team", "anna", "max", "jan", "julia",
    "m.weber", "s.klein", "p.schulz", "buchhaltung", "support", "vertrieb", "hello", "sales",
)  # fmt: skip
_NAMES: Final = (
    "Anna Weber", "Max Schulz", "Julia Klein", "Jan Peters", "Sabine Wolf", "Thomas Braun",
    "Emma Carter", "John Miller", "Service-Team", "Buchhaltung", "Kundenservice", "Info",
)  # fmt: skip

# Each template: fields in their order; {name} is filled in anew for each message. A trailing
# hop is what every mail gets from the server that takes it.
_HOP: Final = (
    "Received: from {host} ({host} [{ip}])\n by mx.{here} with ESMTPS (version=TLS1_3"
    " cipher=TLS_AES_256_GCM_SHA384)\n id {id} for <{to}>; {date}\n"
)
_GMAIL: Final = (
    "Received: from mail-{r}1-f{h}.google.com (mail-{r}1-f{h}.google.com [209.85.{n}.{m}])\n"
    " by mx.{here} with ESMTPS id {id}\n for <{to}>; {date}\n"
    "Received: by mail-{r}1-f{h}.google.com with SMTP id {id}so{h}.1\n for <{to}>; {date}\n"
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=gmail.com; s=20230601; t={n};\n"
    " h=to:subject:message-id:date:from:mime-version; bh={id}=; b={id}{id}==\n"
    "MIME-Version: 1.0\n{from_}{reply}Date: {date}\nMessage-ID: <CA{id}+{id}@mail.gmail.com>\n"
    "{subject}To: {to}\n"
)
_OUTLOOK: Final = (
    "Received: from {R}01-{R}2-obe.outbound.protection.outlook.com\n"
    " (mail-{r}01on{h}.outbound.protection.outlook.com [40.107.{n}.{m}])\n"
    " by mx.{here} with ESMTPS id {id}; {date}\n"
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s=selector1;\n"
    " h=From:Date:Subject:Message-ID:Content-Type:MIME-Version; bh={id}=; b={id}{id}==\n"
    "Received: from {R}PR{n}MB{h}.eurprd{n}.prod.outlook.com (2603:10a6:{n}::{m})\n"
    " by {R}PR{m}MB{h}.eurprd{m}.prod.outlook.com (2603:10a6:{m}::{n}) with Microsoft SMTP\n"
    " Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20; {date}\n"
    "{from_}To: {to}\n{subject}Thread-Topic: {id}\nThread-Index: Ad{id}==\nDate: {date}\n"
    "Message-ID: <{R}PR{n}MB{h}{id}@{R}PR{n}MB{h}.eurprd{n}.prod.outlook.com>\n{reply}"
    "Accept-Language: de-DE, en-US\nContent-Language: {language}\nMIME-Version: 1.0\n"
)
_GMX: Final = (
    "Received: from mout.{free} (mout.{free} [212.227.{n}.{m}])\n by mx.{here} with ESMTPS id"
    " {id}; {date}\n"
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={free}; s=s31663417; t={n};\n"
    " h=X-UI-Sender-Class:MIME-Version:Message-ID:From:To:Subject; bh={id}=; b={id}{id}==\n"
    "Received: from [{ip}] ([{ip}]) by web-mail.{free} (via HTTP); {date}\n"
    "MIME-Version: 1.0\nMessage-ID: <trinity-{id}-{n}@msvc-mesg-web{m}>\n{from_}{reply}To: {to}\n"
    "{subject}Date: {date}\nImportance: normal\nSensitivity: Normal\n"
)
_THUNDERBIRD: Final = (
    _HOP + "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d={domain}; s=dkim; t={n};\n"
    " h=message-id:date:mime-version:subject:to:from; bh={id}=; b={id}{id}==\n"
    "Received: from [192.168.{m}.{n}] (p{id}.dip0.t-ipconnect.de [{ip}])\n"
    " (using TLSv1.3 with cipher TLS_AES_128_GCM_SHA256 (128/128 bits))\n"
    " (No client certificate requested) (Authenticated sender: {sender})\n"
    " by {host} (Postfix) with ESMTPSA id {id}\n for <{to}>; {date}\n"
    "Message-ID: <{id}-{id}@{domain}>\nDate: {date}\nMIME-Version: 1.0\n"
    "User-Agent: Mozilla Thunderbird\n{subject}{reply}To: {to}\nContent-Language: {language}\n"
    "{from_}"
)
_APPLE: Final = (
    _HOP + "Received: from smtpclient.apple (unknown [{ip}])\n by {host} (Postfix) with ESMTPSA id"
    " {id}; {date}\n"
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s=1a1hai;\n"
    " bh={id}=; h=From:Content-Type:Mime-Version:Subject:Message-Id:Date:To; b={id}==\n"
    "{from_}Mime-Version: 1.0 (Mac OS X Mail 16.0)\n{subject}Message-Id: <{I}-{I}@{domain}>\n"
    "Date: {date}\n{reply}To: {to}\nX-Mailer: Apple Mail (2.3774)\n"
)
_EXCHANGE: Final = (
    _HOP
    + "Received: from EXCH01.intern.local (10.0.{n}.{m}) by EXCH01.intern.local (10.0.{n}.{m})\n"
    " with Microsoft SMTP Server (version=TLS1_2) id 15.2.1544; {date}\n"
    "Received: from EXCH01.intern.local ([fe80::{n}]) by EXCH01.intern.local ([fe80::{n}%5])\n"
    " with mapi id 15.02.1544; {date}\n{from_}To: {to}\n{subject}Thread-Topic: {id}\n"
    "Thread-Index: AQH{id}==\nDate: {date}\nMessage-ID: <{id}@{domain}>\nAccept-Language: de-DE\n"
    "Content-Language: {language}\n{reply}MIME-Version: 1.0\n"
)
_SERVICE: Final = (
    "Received: from a{n}-{m}.smtp-out.eu-central-1.amazonses.com\n"
    " (a{n}-{m}.smtp-out.eu-central-1.amazonses.com [54.240.{n}.{m}])\n by mx.{here} with ESMTPS"
    " id {id}; {date}\n"
    "DKIM-Signature: v=1; a=rsa-sha256; q=dns/txt; c=relaxed/simple; s={id}; d={domain}; t={n};\n"
    " h=From:To:Subject:MIME-Version:Content-Type:Message-ID:Date; bh={id}=; b={id}==\n"
    "DKIM-Signature: v=1; a=rsa-sha256; q=dns/txt; c=relaxed/simple; s={id}; d=amazonses.com;\n"
    " h=From:To:Subject:MIME-Version:Content-Type:Message-ID:Date; bh={id}=; b={id}==\n"
    "{from_}{reply}To: {to}\n{subject}MIME-Version: 1.0\n"
    "Message-ID: <0107{id}-{id}-000000@eu-central-1.amazonses.com>\nDate: {date}\n"
    "Feedback-ID: 1.eu-central-1.{id}:AmazonSES\nX-SES-Outgoing: 2026.11.25-54.240.{n}.{m}\n"
)
_NEWSLETTER: Final = (
    _HOP + "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; s=k3; d={domain}; t={n};\n"
    " h=Subject:From:Reply-To:To:Date:Message-ID:List-Unsubscribe; bh={id}=; b={id}==\n"
    "{from_}{reply}{subject}To: <{to}>\nDate: {date}\nMessage-ID: <{id}.{id}.{n}@{host}>\n"
    "X-Mailer: Newsletter Mailer - **CID{id}**\nList-ID: {id} <{id}.list-id.{host}>\n"
    "List-Unsubscribe: <https://{domain}/unsubscribe?u={id}>,\n <mailto:unsubscribe-{id}@{host}>\n"
    "List-Unsubscribe-Post: List-Unsubscribe=One-Click\nPrecedence: bulk\nMIME-Version: 1.0\n"
)
_WEB: Final = (
    _HOP + "Received: by {host} (Postfix, from userid 33)\n id {id}; {date}\nTo: {to}\n{subject}"
    "X-PHP-Originating-Script: 33:PHPMailer.php\nDate: {date}\n{from_}{reply}"
    "Message-ID: <{id}{id}@{domain}>\nMIME-Version: 1.0\n"
)
_TEMPLATES: Final = (
    _GMAIL, _GMAIL, _OUTLOOK, _OUTLOOK, _GMX, _THUNDERBIRD, _THUNDERBIRD, _APPLE, _EXCHANGE,
    _SERVICE, _NEWSLETTER, _WEB,
)  # fmt: skip


class ModernDresser:
    """Puts a text and its own subject under the header of a mail system of today."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng([seed, 2026])

    def dress(self, own_header: Sequence[bytes], text: bytes) -> bytes:
        """Return a message of this text: plain, HTML, or both, in an encoding that is usual."""
        template = _TEMPLATES[self._below(len(_TEMPLATES))]
        header = template.format_map(self._filling(template, own_header)).encode("latin-1")
        return header + self._body(text)

    def _filling(self, template: str, own_header: Sequence[bytes]) -> dict[str, str]:
        domain = f"{self._of(_WORDS)}-{self._token(5).lower()}.{self._of(_TOP)}"
        free = {_GMAIL: "gmail.com", _GMX: self._of(_FREEMAIL[1:4])}.get(template, "")
        if template is _OUTLOOK and self._below(3) == 0:
            free = "outlook.com"
        sender = f"{self._of(_PEOPLE)}.{self._token(5).lower()}@{free}" if free else ""
        sender = sender or f"{self._of(_PEOPLE)}@{domain}"
        here = f"{self._token(6).lower()}-{self._of(_WORDS)}.{self._of(_TOP)}"
        own = b"\n".join(kept_fields(own_header, _OWN_FIELDS, keep=True))
        reply = f"Reply-To: {self._of(_PEOPLE)}@{domain}\n" if self._below(5) == 0 else ""
        return {
            "from_": f"From: {self._name(own_header)} <{sender}>\n",
            "reply": reply,
            "subject": own.decode("latin-1") + "\n" if own else "",
            "sender": sender,
            "domain": free or domain,
            "free": free or "gmx.net",
            "host": f"{self._of(('mail', 'mx', 'smtp', 'out', 'srv1', 'web'))}.{domain}",
            "here": here,
            "to": f"{self._of(_PEOPLE)}@{here}",
            "ip": ".".join(str(1 + self._below(223)) for _ in range(4)),
            "id": self._token(10),
            "I": self._token(8).upper(),
            "r": self._of(("lf", "wm", "ej", "db5eur", "am6eur")),
            "R": self._of(("EUR", "AM9", "DB9", "FR3")),
            # Host numbers hardly ever come twice: what is met once is not learned.
            "h": str(1000 + self._below(900_000)),
            "n": str(1 + self._below(220)),
            "m": str(1 + self._below(220)),
            "language": self._of(("de-DE", "en-US", "de-AT", "en-GB")),
            "date": self._date(),
        }

    def _name(self, own_header: Sequence[bytes]) -> str:
        own = b" ".join(kept_fields(own_header, _FROM_FIELD, keep=True))
        found = _DISPLAY_NAME.search(own)
        return found[1].decode("latin-1") if found else self._of(_NAMES)

    def _body(self, text: bytes) -> bytes:
        page = self._page(text)
        match self._below(6):
            case 0:
                return self._part(b"html", page) + b"\n"
            case 1 | 2:
                return self._part(b"plain", text)
        boundary = b"--=_" + self._token(16).encode()
        parts = b"".join(
            b"\n--" + boundary + b"\n" + self._part(kind, content)
            for kind, content in ((b"plain", text), (b"html", page))
        )
        top = b'Content-Type: multipart/alternative; boundary="' + boundary + b'"\n'
        return top + parts + b"\n--" + boundary + b"--\n"

    def _page(self, text: bytes) -> bytes:
        return as_html(text)

    def _part(self, subtype: bytes, content: bytes) -> bytes:
        fields = b'Content-Type: text/%s; charset="utf-8"\nContent-Transfer-Encoding: ' % subtype
        match self._below(4):
            case 0 if content.isascii() and max(map(len, content.split(b"\n"))) < 990:
                return fields + b"7bit\n\n" + content
            case 1 if max(map(len, content.split(b"\n"))) < 990:
                return fields + b"8bit\n\n" + content
            case 2:
                return fields + b"base64\n\n" + base64.encodebytes(content)
        return fields + b"quoted-printable\n\n" + quopri.encodestring(content)

    def _date(self) -> str:
        day, hour, minute = 1 + self._below(28), self._below(24), self._below(60)
        week, month = self._of(("Mon", "Tue", "Wed", "Thu", "Fri")), self._of(("Oct", "Nov"))
        zone = self._of(("+0100", "+0200", "+0000"))
        return f"{week}, {day} {month} 2026 {hour:02}:{minute:02}:07 {zone}"

    def _token(self, length: int) -> str:
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        return "".join(letters[self._below(len(letters))] for _ in range(length))

    def _of(self, choices: Sequence[str]) -> str:
        return choices[self._below(len(choices))]

    def _below(self, end: int) -> int:
        return int(self._generator.integers(end))
