"""Reading plain JSON with its types checked: a file may be damaged, or written by another hand."""

from enum import StrEnum
from typing import TypeVar

from gateway.core.errors import RecordFormatError

_Member = TypeVar("_Member", bound=StrEnum)
_LARGEST = 2**63 - 1  # what a column of either database holds


class Fields:
    """One JSON object; every reader names the field it complains about."""

    __slots__ = ("_data", "where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise RecordFormatError(f"{where}: an object is missing")
        self._data: dict[str, object] = value
        self.where = where

    def get(self, name: str) -> object:
        """The value as it is; None when there is none."""
        return self._data.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """A string; without a default it must be there."""
        value = self._data.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number of at most 63 bits; without a default it must be there."""
        value = self._data.get(name, default)
        if type(value) is not int or not -_LARGEST <= value <= _LARGEST:
            raise self._wrong(name, "a whole number")
        return value

    def optional_integer(self, name: str) -> int | None:
        """A whole number, or nothing."""
        return None if self._data.get(name) is None else self.integer(name)

    def number(self, name: str, default: float | None = None) -> float:
        """A number; without a default it must be there."""
        value = self._data.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number")
        if not -_LARGEST <= value <= _LARGEST:
            raise self._wrong(name, "a number of reasonable size")
        return float(value)

    def optional_number(self, name: str) -> float | None:
        """A number, or nothing."""
        return None if self._data.get(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        """True or false; false when it is not there."""
        value = self._data.get(name, False)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def member(self, name: str, kind: type[_Member]) -> _Member:
        """One of the words of ``kind``."""
        try:
            return kind(self.text(name))
        except ValueError as error:
            raise RecordFormatError(f"{self.where}: {error} (field {name!r})") from error

    def optional_member(self, name: str, kind: type[_Member]) -> _Member | None:
        """One of the words of ``kind``, or nothing."""
        return None if self._data.get(name) is None else self.member(name, kind)

    def entries(self, name: str) -> list[object]:
        """A list; empty when it is not there."""
        value = self._data.get(name, [])
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return value

    def mapping(self, name: str) -> dict[str, object]:
        """An object; empty when it is not there."""
        value = self._data.get(name, {})
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return value

    def _wrong(self, name: str, wanted: str) -> RecordFormatError:
        return RecordFormatError(f"{self.where}: field {name!r} is not {wanted}")
