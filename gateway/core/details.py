"""A symbol's detail: parameters for the sentence that explains it, as ``key=value`` pairs.

Reasons are codes with parameters (data model, section 2), so a detail holds no language. Values
come from mail: they are cut, and whatever is not printable or is blank becomes ``_``.
"""

_LONGEST_VALUE = 80


def write_details(**values: str | float) -> str:
    """Write parameters in order, e.g. ``zone=zen.example code=127.0.0.2``."""
    return " ".join(f"{key}={_safe(value)}" for key, value in values.items())


def read_details(detail: str) -> dict[str, str]:
    """Read what ``write_details`` wrote; words without ``=`` are passed over."""
    pairs = (word.partition("=") for word in detail.split(" "))
    return {key: value for key, equals, value in pairs if key and equals}


def _safe(value: str | float) -> str:
    if not isinstance(value, str):
        return f"{value:.6g}"
    cut = value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + "…"
    return "".join(c if c.isprintable() and not c.isspace() else "_" for c in cut) or "-"
