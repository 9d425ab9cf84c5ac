"""Directories by UTC day: how they are called, and how a process gets a file of its own in one."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

from gateway.store.files import FileLayer

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z")


def day_name(at_ms: int) -> str:
    """The UTC day as it names directories of records, journals and features."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def is_day(name: str) -> bool:
    """Whether a directory is called as days are; names of days sort by time."""
    return _DAY.match(name) is not None


def own_file(
    layer: FileLayer, directory: Path, role: str, start_ms: int, ending: str
) -> tuple[Path, int]:
    """Make a file ``<role>-<pid>-<start_ms><ending>`` that no process had; its descriptor too.

    Raises OSError.
    """
    while True:
        path = directory / f"{role}-{os.getpid()}-{start_ms}{ending}"
        try:
            return path, layer.create(path)
        except FileExistsError:
            start_ms += 1  # the clock was set back, or a sister began in the same millisecond
