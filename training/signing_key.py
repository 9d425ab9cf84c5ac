"""The key that models are signed with: a file that lies where models are trained, only there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.locale import N_
from models.arrays import ArrayFileError, open_regular

_KEY_BYTES: Final = 32


class SigningKeyError(ValueError):
    """A key file that cannot be used; the text is a sentence of the catalogue."""


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 private key (RFC 8032), 64 hexadecimal digits.

    Raises SigningKeyError.
    """
    try:
        with open_regular(path) as file:
            text = file.read(4 * _KEY_BYTES)
    except ArrayFileError as error:
        raise SigningKeyError(N_("it cannot be read")) from error
    try:
        seed = bytes.fromhex(text.decode("ascii"))
    except ValueError as error:
        raise SigningKeyError(N_("it holds no key (64 hexadecimal digits)")) from error
    if len(seed) != _KEY_BYTES:
        raise SigningKeyError(N_("it holds no key (64 hexadecimal digits)"))
    return Ed25519PrivateKey.from_private_bytes(seed)


def make_signing_key(path: Path) -> Ed25519PrivateKey:
    """Make a key and write it where no file is yet, readable by this user alone.

    Raises FileExistsError, OSError.
    """
    key = Ed25519PrivateKey.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.private_bytes_raw().hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def public_half(key: Ed25519PrivateKey) -> str:
    """Return what gateways know a model's signature by, 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()
