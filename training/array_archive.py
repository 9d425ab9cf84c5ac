"""Several named arrays in one ``.npz`` file of another machine, read with suspicion.

``numpy.load`` believes what such a file says of itself: it makes room for whatever shape stands in
a header, and lets the errors of the unpacking through. Here type, shape and size are checked before
anything is unpacked, and a small file may not grow into a huge one.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import ArrayFileError, read_header, size_of

_MOST_BYTES: Final = 4 << 30
_ALWAYS_BYTES: Final = 16 << 20
_MOST_GROWTH: Final = 50
"""So many times larger than the file may its content be; of real ones it is two to four times."""

Array = npt.NDArray[Any]


def read_arrays(file: IO[bytes], wanted: Mapping[str, npt.DTypeLike]) -> dict[str, Array]:
    """Return the arrays of these names and types. Raises ArrayFileError and OSError."""
    size = file.seek(0, os.SEEK_END)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {name: archive.getinfo(f"{name}.npy") for name in wanted}
            allowed = min(_MOST_BYTES, _ALWAYS_BYTES + _MOST_GROWTH * size)
            if sum(entry.file_size for entry in entries.values()) > allowed:
                raise ArrayFileError("the arrays are larger than they can be")
            return {
                name: _array(archive, entries[name], np.dtype(kind))
                for name, kind in wanted.items()
            }
    except KeyError as error:
        raise ArrayFileError(f"an array is missing: {error}") from error
    except (EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ArrayFileError(f"no readable archive of arrays: {error}") from error


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kind: np.dtype[Any]) -> Array:
    """Read one array; the archive ends what it unpacks at the size it named."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArrayFileError(f"{entry.filename}: packed in a way that is not ours")
    with archive.open(entry) as file:
        shape, offset = read_header(file, entry.filename, kind)
        if entry.file_size != offset + size_of(shape, kind):
            raise ArrayFileError(f"{entry.filename}: its shape {shape} does not fit its size")
        return np.frombuffer(file.read(), kind).reshape(shape)
