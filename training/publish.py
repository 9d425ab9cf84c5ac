"""Publishing: a trained model becomes an immutable, signed directory that workers can map."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.bundle import Bundle
from models.registry import Registry


def dated(bundle: Bundle, now: datetime | None = None) -> Bundle:
    """Return the model with the time of its publication; the digest does not cover it."""
    moment = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    manifest = replace(bundle.manifest, created_at=moment)
    return Bundle(manifest, bundle.counts, bundle.weights, bundle.energy)


def signed(bundle: Bundle, private_key: Ed25519PrivateKey) -> Bundle:
    """Return the model with an Ed25519 signature over its digest. The key stays in training."""
    signature = private_key.sign(bundle.digest.encode("ascii")).hex()
    manifest = replace(bundle.manifest, signature=signature)
    return Bundle(manifest, bundle.counts, bundle.weights, bundle.energy)


def publish(
    bundle: Bundle, directory: Path, *, private_key: Ed25519PrivateKey | None = None
) -> str:
    """Install a sealed model in a registry's directory, without promoting it; return its name."""
    ready = dated(bundle)
    if private_key is not None:
        ready = signed(ready, private_key)
    return Registry(directory).install(ready)
