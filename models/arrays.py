"""Plain ``.npy`` files, read with suspicion: never a pickle, never more than was promised.

The header of such a file is a Python literal that the writer chose (NumPy enhancement proposal 1).
It is read with a bound on its length, and type, shape and file size are checked before any data is.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

_MAX_HEADER_BYTES: Final = 1024
_MAX_ROWS: Final = 1 << 23  # more than features there are, with room for their gaps


class ArrayFileError(ValueError):
    """A file that is not the array it should be; the text says what is wrong, for a person."""


def write_array(path: Path, values: npt.NDArray[Any]) -> None:
    """Write an array in C order and little-endian, durably. Raises OSError, objects ValueError."""
    if values.dtype.hasobject:
        raise ValueError("objects are no plain numbers")
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    with path.open("wb") as file:
        described = np.lib.format.header_data_from_array_1_0(data)
        np.lib.format.write_array_header_1_0(file, described)
        # Not by NumPy: its error for a full disk is a pair of numbers.
        file.write(data.tobytes())
        file.flush()
        os.fsync(file.fileno())


def read_array(path: Path, *, dtype: npt.DTypeLike, columns: int) -> npt.NDArray[Any]:
    """Read a table of any number of rows into memory. Raises ArrayFileError."""
    with open_regular(path) as file:
        wanted = np.dtype(dtype).newbyteorder("<")
        shape, offset = _checked_header(file, path.name, wanted)
        if len(shape) != 2 or shape[1] != columns or shape[0] > _MAX_ROWS:
            raise ArrayFileError(f"{path.name}: shape {shape}, not (n, {columns})")
        file.seek(offset)
        data = file.read(size_of(shape, wanted))
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)


def map_array(path: Path, *, dtype: npt.DTypeLike, length: int) -> npt.NDArray[Any]:
    """Map a one-dimensional array read-only, so that processes share it. Raises ArrayFileError."""
    wanted = np.dtype(dtype).newbyteorder("<")
    with open_regular(path) as file:
        shape, offset = _checked_header(file, path.name, wanted)
        if shape != (length,):
            raise ArrayFileError(f"{path.name}: shape {shape}, not ({length},)")
        try:
            # What was checked is what is mapped, whatever the name stands for by now.
            mapped = np.memmap(file, wanted, "r", offset, shape)
        except (OSError, ValueError) as error:
            raise ArrayFileError(f"{path.name}: cannot be mapped: {error}") from error
    return mapped.view(np.ndarray)


def open_regular(path: Path) -> BinaryIO:
    """Open a file that is really a file, no link, pipe or device. Raises ArrayFileError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ArrayFileError(f"{path.name}: {error.strerror or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArrayFileError(f"{path.name}: not a regular file")
    return os.fdopen(descriptor, "rb")


def _checked_header(
    file: BinaryIO, name: str, wanted: np.dtype[Any]
) -> tuple[tuple[int, ...], int]:
    shape, offset = read_header(file, name, wanted)
    size = os.fstat(file.fileno()).st_size
    expected = offset + size_of(shape, wanted)
    if size != expected:
        raise ArrayFileError(f"{name}: {size} bytes, not {expected}: cut off or tampered with")
    return shape, offset


def read_header(file: IO[bytes], name: str, wanted: np.dtype[Any]) -> tuple[tuple[int, ...], int]:
    """Read an array's header: its shape, and how many bytes the header takes.

    Raises ArrayFileError for another type than the wanted one, and for what is no array.
    """
    try:
        # A file of a later format version fails here too: its header has another layout.
        np.lib.format.read_magic(file)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(
            file, max_header_size=_MAX_HEADER_BYTES
        )
        offset = file.tell()
    except Exception as error:  # the parser of a hostile literal raises many kinds
        raise ArrayFileError(f"{name}: no readable array header") from error
    if dtype != wanted or fortran:
        raise ArrayFileError(f"{name}: type {dtype}, not {wanted}")
    if any(extent < 0 for extent in shape):
        raise ArrayFileError(f"{name}: shape {shape} is no shape")
    return shape, offset


def size_of(shape: tuple[int, ...], kind: np.dtype[Any]) -> int:
    """Return how many bytes an array takes, however large a number that is."""
    return int(np.prod(shape, dtype=object)) * kind.itemsize
