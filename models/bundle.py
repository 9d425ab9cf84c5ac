"""A published model: a manifest and plain arrays in one directory, checked before it is used.

Nothing in it is ever unpickled. Two layouts hold the same model: ``mapped`` (dense arrays that all
workers share by mapping them) and ``sparse`` (as shipped in git, a few megabytes).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models import bundle_sparse
from models.arrays import ArrayFileError, map_array, open_regular, write_array
from models.calibration import points
from models.classifier import (
    PUBLISHED_UNIT,
    Classifier,
    ContentScore,
    NaiveBayes,
    beyond_chance,
)
from models.counts import Counts
from models.explain import explain
from models.features import LEXICAL, SPACE, Features, extract, extract_ends
from models.manifest import MAX_MANIFEST_BYTES, BundleError, Manifest
from models.message import ParsedMail

__all__ = ["Bundle", "BundleError", "Manifest"]

PublishedWeights = npt.NDArray[np.int16]
PublishedEnergy = npt.NDArray[np.float16]

_MANIFEST: Final = "manifest.json"
_DENSE: Final = {
    "ham": (np.int32, LEXICAL),
    "spam": (np.int32, LEXICAL),
    "weights": (np.int16, SPACE),
    "energy": (np.float16, SPACE),
}


class Bundle:
    """A model that serves: immutable, mapped, scoring messages.

    ``energy`` is how much each weight has been moved already: what a learner needs to go on.
    """

    def __init__(
        self,
        manifest: Manifest,
        counts: Counts,
        weights: PublishedWeights,
        energy: PublishedEnergy,
    ) -> None:
        self.manifest = manifest
        self.counts = counts
        self.weights = weights
        self.energy = energy
        self.classifier = Classifier(
            NaiveBayes(counts, manifest.parameters), weights, PUBLISHED_UNIT
        )
        self._filled = counts.filled_share()

    @property
    def model_id(self) -> str:
        """Where the model is from and the beginning of its digest."""
        return self.manifest.model_id

    @property
    def digest(self) -> str:
        """SHA-256 over counts, weights and manifest (without date, signature and layout)."""
        return self.manifest.digest

    @property
    def feature_spec(self) -> str:
        """The specification of the features this model understands."""
        return self.manifest.feature_spec

    @property
    def origin(self) -> str:
        """``baseline`` (shipped) or ``site`` (trained on the site's mail)."""
        return self.manifest.origin

    @property
    def points_cap(self) -> float:
        """Points this model may give at most; 3 for a baseline, 9 for a site's model."""
        return self.manifest.points_cap

    @property
    def created_at(self) -> str:
        """When it was published, ISO 8601 UTC."""
        return self.manifest.created_at

    @property
    def metrics(self) -> Mapping[str, float]:
        """Measures taken when it was published."""
        return self.manifest.metrics

    def score_features(
        self, features: Features, words: int = 0, *, whole: Features | None = None
    ) -> ContentScore:
        """Score features; ``words`` is how many words for and against to name.

        ``whole`` is handed on: the features of all of a message of which these are one view.
        """
        parts = self.classifier.parts(features)
        return ContentScore(
            probability=self.manifest.calibration.probability(parts.log_odds),
            log_odds=parts.log_odds,
            known_share=beyond_chance(parts.known_share, self._filled),
            naive_log_odds=parts.naive,
            pattern_log_odds=parts.second,
            words=explain(features, self.classifier, words, parts=parts) if words else (),
            whole=whole,
        )

    def score(self, mail: ParsedMail, raw: bytes, words: int = 0) -> ContentScore:
        """Score a scanned message; ``raw`` are the bytes it was scanned from.

        A long message is what the worst of its views says: the whole, or header and an end.
        """
        whole, ends = extract(mail, raw), list(extract_ends(mail, raw))
        features = self.classifier.worst(whole, *ends) if ends else whole
        return self.score_features(features, words, whole=whole)

    def points(self, score: ContentScore) -> float:
        """Return what a score of this model is worth, within its cap."""
        return points(score, self.points_cap, self.manifest.points_scale)

    def compute_digest(self) -> str:
        """Work out the digest from what is really there."""
        sha = hashlib.sha256(self.manifest.canonical())
        for piece in self.counts.canonical():
            sha.update(piece)
        for name, values in (("weights", self.weights), ("energy", self.energy)):
            used = np.flatnonzero(values)
            sha.update(f"{name} {len(used)}\n".encode())
            sha.update(used.astype("<u4").tobytes())
            sha.update(values[used].astype(values.dtype.newbyteorder("<")).tobytes())
        return sha.hexdigest()

    def sealed(self) -> Bundle:
        """Return this model with its digest in the manifest."""
        unsealed = Bundle(replace(self.manifest, digest=""), self.counts, self.weights, self.energy)
        digest = unsealed.compute_digest()
        manifest = replace(self.manifest, digest=digest)
        return Bundle(manifest, self.counts, self.weights, self.energy)

    def save(self, directory: Path) -> None:
        """Write the mapped layout into a new directory, durably.

        Raises FileExistsError: a published model is never changed.
        """
        self._write(directory, "mapped", dict(zip(_DENSE, self._dense(), strict=True)))

    def save_sparse(self, directory: Path) -> None:
        """Write the sparse layout into a new directory. Raises FileExistsError."""
        tables = bundle_sparse.pack(self.counts, self.weights, self.energy)
        self._write(directory, "sparse", tables)

    def _dense(self) -> tuple[npt.NDArray[Any], ...]:
        return self.counts.ham, self.counts.spam, self.weights, self.energy

    def _write(self, directory: Path, layout: str, arrays: dict[str, npt.NDArray[Any]]) -> None:
        directory.mkdir(parents=True)
        for name, values in arrays.items():
            write_array(directory / f"{name}.npy", values)
        # The manifest comes last: a directory without one is no model.
        with (directory / _MANIFEST).open("wb") as file:
            file.write(replace(self.manifest, layout=layout).to_json())
            file.flush()
            os.fsync(file.fileno())

    def verify_signature(self, public_key: bytes) -> None:
        """Check that the owner of the Ed25519 key (32 bytes) signed this digest.

        Raises BundleError if the signature is missing or wrong.
        """
        if self.manifest.signature is None:
            raise BundleError(f"{self.model_id} is not signed, and a signature is required")
        try:
            key = Ed25519PublicKey.from_public_bytes(public_key)
            key.verify(bytes.fromhex(self.manifest.signature), self.digest.encode("ascii"))
        except (InvalidSignature, ValueError) as error:
            raise BundleError(f"{self.model_id}: the signature does not fit") from error

    @classmethod
    def load(cls, directory: Path, *, public_key: bytes | None = None) -> Bundle:
        """Map a model, or read a sparse one into memory.

        Raises BundleError with plain words for anything that is not a whole, untouched model of
        this version's features, and for one not signed with ``public_key`` if that is given.
        """
        try:
            manifest = Manifest.from_json(_manifest_bytes(directory))
            if manifest.layout == "sparse":
                counts, weights, energy = bundle_sparse.load(directory, manifest)
            else:
                counts, weights, energy = _map(directory, manifest)
        except ArrayFileError as error:
            raise BundleError(f"{directory.name}: {error}") from error
        except BundleError as error:
            raise BundleError(f"{directory.name}: {error}") from error
        bundle = cls(manifest, counts, weights, energy)
        if bundle.compute_digest() != manifest.digest:
            raise BundleError(
                f"{directory.name}: the content does not fit the digest: damaged or tampered with"
            )
        if public_key is not None:
            bundle.verify_signature(public_key)
        return bundle


def _manifest_bytes(directory: Path) -> bytes:
    if directory.is_symlink() or not directory.is_dir():
        raise BundleError("no such model directory")
    with open_regular(directory / _MANIFEST) as file:
        text = file.read(MAX_MANIFEST_BYTES + 1)
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleError("manifest.json is too large")
    return text


def _map(directory: Path, manifest: Manifest) -> tuple[Counts, PublishedWeights, PublishedEnergy]:
    arrays = {
        name: map_array(directory / f"{name}.npy", dtype=dtype, length=length)
        for name, (dtype, length) in _DENSE.items()
    }
    counts = Counts(
        arrays["ham"],
        arrays["spam"],
        ham_messages=manifest.ham_messages,
        spam_messages=manifest.spam_messages,
    )
    bundle_sparse.check_values(counts, arrays["energy"])
    return counts, arrays["weights"], arrays["energy"]
