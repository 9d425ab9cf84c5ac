"""What a check found, one line each: for people with a mark and the mend, for machines as JSON."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import click

from gateway.cli.context import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about one thing.

    ``mend`` says what to do; it is empty when all is well, and advice where ``ok`` is true.
    ``subject`` is what was looked at, where a command looks at several things in the same way.
    """

    check: str
    ok: bool
    text: str
    mend: str = ""
    subject: str = ""

    def row(self) -> Mapping[str, object]:
        """What ``--json`` prints."""
        row = {"check": self.check, "ok": self.ok, "text": self.text, "mend": self.mend}
        return {"subject": self.subject, **row} if self.subject else row


def show(findings: Iterable[Finding], *, as_json: bool) -> bool:
    """Print findings as they come; whether all are well."""
    well = True
    for finding in findings:
        well = well and finding.ok
        if as_json:
            click.echo(json.dumps(finding.row()))
            continue
        mark = click.style("ok  ", fg="green")
        if not finding.ok:
            mark = click.style("FAIL", fg="red")
        elif finding.mend:
            mark = click.style("note", fg="yellow")
        mend = f"  -> {finding.mend}" if finding.mend else ""
        subject = f"{finding.subject}  " if finding.subject else ""
        text = f"{subject}{finding.check:<12} {finding.text}{mend}"
        click.echo(f"{mark} {printable(text)}")
    return well
