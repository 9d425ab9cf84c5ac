"""A part of a measurement in a process of its own, so that its cost is not the gateway's.

The part reads one JSON line for each request on standard input and answers with one; it ends with
its standard input.
"""

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from tests.perf.processes import cpu_s
from tests.perf.real_mail import ROOT


class Part:
    """``python -m MODULE ARGUMENTS...``; its first line is what it has to say at the start."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.hello = self._answer()

    def ask(self, **request: object) -> dict[str, Any]:
        """One request, one answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    @property
    def cpu_s(self) -> float:
        return cpu_s([self.process.pid])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended: {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self.process.communicate(timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.process.kill()
        self.close()
