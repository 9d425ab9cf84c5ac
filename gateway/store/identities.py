"""The snapshot of people's logins on disk, from which workers check passwords without a database.

One file, readable by its owner alone, replaced in one step at every change. Unlike generations no
older one is kept: a password that was changed shall not lie about.
"""

from pathlib import Path

from gateway.core.errors import ConfigError, RecordFormatError
from gateway.core.identities import Identities, Identity, Scopes
from gateway.store import codec
from gateway.store.fields import Fields
from gateway.store.files import (
    FileLayer,
    OsFileLayer,
    make_durable_directory,
    replace_file,
    storage_error,
)
from gateway.store.sealed import MAX_BYTES, seal, unseal

FORMAT = 1
NAME = "people"
_KIND = "people"
_MEND = "any schwamm user command writes it again from the directory database"


def publish(
    directory: Path, identities: Identities, *, file_layer: FileLayer | None = None
) -> None:
    """Put this picture in the place of the last one; does nothing when it is the same.

    Raises:
        StorageError: the disk does not take it; the last one stays.
    """
    layer = file_layer or OsFileLayer()
    target = directory / NAME
    body = _encode(identities)
    try:
        make_durable_directory(layer, directory)
        if not target.exists() or target.read_bytes() != body:
            replace_file(layer, target, body)
    except OSError as error:
        raise storage_error(error, target) from error


def load(directory: Path) -> Identities:
    """The picture in force; nobody while there is none.

    Raises:
        ConfigError: it is damaged or of a newer format; with the mend.
    """
    path = directory / NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Identities()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}; {_MEND}") from error
    try:
        return _decode(data)
    except RecordFormatError as error:
        raise ConfigError(f"{path}: {error}; {_MEND}") from error


def _encode(identities: Identities) -> bytes:
    people = sorted(identities.people, key=lambda one: one.login)
    data: codec.Json = {"v": FORMAT, "people": [_to_json(one) for one in people]}
    return seal(_KIND, FORMAT, data, name="people")


def _decode(data: bytes) -> Identities:
    fields = Fields(unseal(_KIND, FORMAT, data), "people")
    return Identities(tuple(_from_json(entry) for entry in fields.entries("people")))


def _to_json(one: Identity) -> codec.Json:
    scopes = one.scopes
    return {
        "login": one.login,
        "secret": one.secret,
        "everywhere": scopes.everywhere,
        "customers": sorted(scopes.customers),
        "domains": sorted(scopes.domains),
        "addresses": sorted(scopes.addresses),
    }


def _from_json(value: object) -> Identity:
    data = Fields(value, "person")
    scopes = Scopes(
        everywhere=data.flag("everywhere"),
        customers=_words(data, "customers"),
        domains=_words(data, "domains"),
        addresses=_words(data, "addresses"),
    )
    return Identity(login=data.text("login"), secret=data.text("secret"), scopes=scopes)


def _words(data: Fields, name: str) -> frozenset[str]:
    return frozenset(str(word) for word in data.entries(name))
