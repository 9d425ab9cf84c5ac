"""Snapshots of the configuration on disk, from which workers serve without any database.

``<n>.json`` is written once; ``current`` holds the number of the one in force and is replaced in
one step. The first line carries a digest, so a damaged snapshot is never half believed.
"""

import re
from pathlib import Path

from gateway.core.errors import ConfigError, RecordFormatError
from gateway.core.recipients import parse_recipient_rules
from gateway.core.routing import Domain, Generation, OnOutage
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
CURRENT = "current"
_KIND = "generation"
_NAME = re.compile(r"(\d{1,12})\.json\Z")
_MEND = "any schwamm domain command writes it again from the directory database"


def publish(
    directory: Path, generation: Generation, *, file_layer: FileLayer | None = None
) -> None:
    """Put a snapshot beside the others and point to it.

    Raises:
        ConfigError: a different snapshot of this number is there already.
        StorageError: the disk does not take it; the one in force stays.
    """
    layer = file_layer or OsFileLayer()
    target = directory / f"{generation.number}.json"
    body = _encode(generation)
    try:
        make_durable_directory(layer, directory)
        if not target.exists() or target.read_bytes() != body:
            _refuse_change(directory, generation)
            replace_file(layer, target, body)
        replace_file(layer, directory / CURRENT, b"%d\n" % generation.number)
    except OSError as error:
        raise storage_error(error, target) from error


def load_current(directory: Path) -> Generation:
    """The snapshot in force.

    Raises:
        ConfigError: there is none, or it is damaged or of a newer format; with the mend.
    """
    return load(directory, current_number(directory))


def current_number(directory: Path) -> int:
    """The number of the snapshot in force; cheap enough to ask every second.

    Raises:
        ConfigError: there is none; with the mend.
    """
    path = directory / CURRENT
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; {_MEND}") from error
    if not text.isdigit() or len(text) > 12:
        raise ConfigError(f"{path}: names no snapshot; {_MEND}")
    return int(text)


def load(directory: Path, number: int) -> Generation:
    """One snapshot by its number; older ones stay to fall back to.

    Raises:
        ConfigError: there is none, or it is damaged or of a newer format; with the mend.
    """
    path = directory / f"{number}.json"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}; {_MEND}") from error
    try:
        generation = _decode(data)
    except RecordFormatError as error:
        raise ConfigError(f"{path}: {error}; {_MEND}") from error
    if generation.number != number:
        raise ConfigError(f"{path}: the snapshot inside is {generation.number}; {_MEND}")
    return generation


def numbers(directory: Path) -> list[int]:
    """All snapshots there are, oldest first, readable or not."""
    if not directory.is_dir():
        return []
    return sorted(int(m[1]) for path in directory.iterdir() if (m := _NAME.match(path.name)))


def newest_good(directory: Path) -> Generation:
    """The newest snapshot that can be read, for a start when the one in force is damaged.

    Raises:
        ConfigError: there is none; with the mend.
    """
    for number in reversed(numbers(directory)):
        try:
            return load(directory, number)
        except ConfigError:
            continue
    raise ConfigError(f"{directory}: no readable snapshot; {_MEND}")


def _refuse_change(directory: Path, generation: Generation) -> None:
    try:
        there = load(directory, generation.number)
    except ConfigError:
        return  # missing or damaged: writing it is the mend
    if there != generation:
        raise ConfigError(
            f"generation {generation.number} stands already with other content; "
            "a verdict that names it must keep its meaning"
        )


def _encode(generation: Generation) -> bytes:
    data: codec.Json = {
        "v": FORMAT,
        "number": generation.number,
        "created_at_ms": generation.created_at_ms,
        "domains": [_domain_to_json(domain) for domain in generation.domains],
    }
    return seal(_KIND, FORMAT, data, name=f"generation {generation.number}")


def _decode(data: bytes) -> Generation:
    fields = Fields(unseal(_KIND, FORMAT, data), "snapshot")
    return Generation(
        number=fields.integer("number"),
        created_at_ms=fields.integer("created_at_ms"),
        domains=tuple(_domain_from_json(entry) for entry in fields.entries("domains")),
    )


def _domain_to_json(domain: Domain) -> codec.Json:
    return {
        "name": domain.name,
        "next_hops": [codec.next_hop_to_json(hop) for hop in domain.next_hops],
        "customer": domain.customer,
        "aliases": list(domain.aliases),
        "on_outage": domain.on_outage.value,
        "reject": domain.reject,
        "unsure_score": domain.unsure_score,
        "spam_score": domain.spam_score,
        "reject_score": domain.reject_score,
        "retention_days": domain.retention_days,
        "subject_tag": domain.subject_tag,
        "recipients": str(domain.recipients),
        "queue_hours": domain.queue_hours,
    }


def _domain_from_json(value: object) -> Domain:
    data = Fields(value, "domain")
    return Domain(
        name=data.text("name"),
        next_hops=tuple(codec.next_hop_from_json(hop) for hop in data.entries("next_hops")),
        customer=data.text("customer", ""),
        aliases=tuple(str(alias) for alias in data.entries("aliases")),
        on_outage=data.member("on_outage", OnOutage),
        reject=data.flag("reject"),
        unsure_score=data.number("unsure_score"),
        spam_score=data.number("spam_score"),
        reject_score=data.number("reject_score"),
        retention_days=data.integer("retention_days"),
        subject_tag=data.text("subject_tag", ""),
        recipients=parse_recipient_rules(data.text("recipients", "any")),
        queue_hours=data.integer("queue_hours", 0),
    )
