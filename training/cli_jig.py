"""``schwamm jig``: a judge on standard input and output."""

from __future__ import annotations

import contextlib
import select
import sys

import click

from training.cli_language import spoken
from training.evaluate_filters import UnusableFilterError, open_filter
from training.jig import Jig

_PATIENCE_S = 1.0


class Complaints:
    """Tells what went wrong on standard error, and never stands in the judge's way.

    A judge may have closed it, or never read it until it is full: what it cannot take is lost.
    """

    def __init__(self) -> None:
        self._patience_s = _PATIENCE_S

    def tell(self, text: str) -> None:
        """Write one line if there is somebody to take it."""
        # Closed before the start it is no stream, closed by the reader it is an error.
        with contextlib.suppress(OSError, TypeError):
            if not select.select([], [sys.stderr], [], self._patience_s)[1]:
                self._patience_s = 0.0  # who does not read is waited for once
                return
            click.echo(text, err=True)


def run_jig(*, scorer: str, model: str | None, pipeline: object) -> None:
    """Serve a judge on standard input and output until it says ``finalize``."""
    _ = spoken()
    try:
        tested = open_filter(scorer, model, pipeline, _, learning=True)
    except UnusableFilterError as error:
        raise click.ClickException(str(error)) from error
    Jig(
        tested.scorer,
        learn=tested.learn,
        answer=lambda line: print(line, flush=True),  # noqa: T201  # the answer itself
        complain=Complaints().tell,
        threshold=tested.threshold,
        say=_,
    ).run(sys.stdin.buffer)
