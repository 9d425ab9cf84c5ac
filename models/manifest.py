"""The manifest of a published model: what it is, what it was made from, what it may do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from models.calibration import BASELINE_CAP, SITE_CAP, Calibration, PointsScale
from models.classifier import ScoreParameters
from models.features import FEATURE_SPEC

FORMAT: Final = 1
MAX_MANIFEST_BYTES: Final = 256 * 1024
_CAPS: Final = {"baseline": BASELINE_CAP, "site": SITE_CAP}
_ADDED_PARAMETERS: Final[Mapping[str, float]] = MappingProxyType(
    {"naive_prior": 0.0, "label_slips": 0.0}
)
"""Parameters that came after the first models, and what they are where a manifest has none.

Left out when they are that, so that the digest of an older model stays what it was.
"""
_OUTSIDE_DIGEST: Final = ("created_at", "digest", "layout", "model_id", "signature")


class BundleError(ValueError):
    """A model that can't be used; the text says in plain words what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What stands in ``manifest.json``.

    ``digest`` covers counts, weights and this manifest without date, signature and layout.
    ``created_at`` is ISO 8601 UTC. ``layout`` is ``mapped`` or ``sparse`` (as kept in git).
    """

    origin: str
    ham_messages: int
    spam_messages: int
    created_at: str = ""
    layout: str = "mapped"
    digest: str = ""
    feature_spec: str = FEATURE_SPEC
    points_cap: float = BASELINE_CAP
    parameters: ScoreParameters = field(default_factory=ScoreParameters)
    calibration: Calibration = field(default_factory=Calibration)
    points_scale: PointsScale = field(default_factory=PointsScale)
    sources: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    signature: str | None = None

    @property
    def model_id(self) -> str:
        """A short name: where the model is from and the beginning of its digest."""
        return f"{self.origin}-{self.digest[:12]}"

    def canonical(self) -> bytes:
        """Return what of this manifest the digest covers."""
        covered = {k: v for k, v in self._plain().items() if k not in _OUTSIDE_DIGEST}
        return json.dumps(covered, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    def to_json(self) -> bytes:
        """Return the file's content."""
        return json.dumps(self._plain(), sort_keys=True, indent=1, ensure_ascii=False).encode()

    def _plain(self) -> dict[str, Any]:
        plain = {"format": FORMAT, "model_id": self.model_id, **asdict(self)}
        for name, value in _ADDED_PARAMETERS.items():
            if plain["parameters"][name] == value:
                del plain["parameters"][name]
        return plain

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Read and check a manifest. Raises BundleError."""
        try:
            found = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise BundleError("manifest.json is not readable JSON") from error
        if not isinstance(found, dict):
            raise BundleError("manifest.json is not an object")
        if found.get("format") != FORMAT:
            has = ascii(found.get("format"))[:20]  # it is printed: nothing may steer a terminal
            raise BundleError(f"the model has format {has}, this version reads {FORMAT}")
        _check_spec(found.get("feature_spec"))
        return cls(
            origin=_one_of(found, "origin", ("baseline", "site")),
            layout=_one_of(found, "layout", ("mapped", "sparse")),
            ham_messages=_count(found, "ham_messages"),
            spam_messages=_count(found, "spam_messages"),
            created_at=_text(found, "created_at"),
            digest=_text(found, "digest"),
            points_cap=_cap(found),
            parameters=ScoreParameters(
                **_numbers(
                    found,
                    "parameters",
                    ScoreParameters,
                    whole={"min_class_messages", "typical_features"},
                    added=_ADDED_PARAMETERS,
                )
            ),
            calibration=_calibration(found),
            points_scale=_points_scale(found),
            sources=_texts(found, "sources"),
            metrics=_free_numbers(found, "metrics"),
            signature=None if found.get("signature") is None else _text(found, "signature"),
        )


def cap_of(origin: str) -> float:
    """Return the most points a model of this origin may ever give."""
    return _CAPS[origin]


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _check_spec(spec: object) -> None:
    if spec != FEATURE_SPEC:
        raise BundleError(
            f"the model was trained on features {str(spec)[:20]!r},"
            f" this version extracts {FEATURE_SPEC!r}"
        )


def _one_of(found: dict[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    if found.get(key) not in allowed:
        raise BundleError(f"manifest.json: {key} is none of {', '.join(allowed)}")
    return str(found[key])


def _text(found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    # It is printed, and no digest or signature covers all of it: nothing may steer a terminal.
    if not isinstance(value, str) or len(value) > 1000 or not value.isprintable():
        raise BundleError(f"manifest.json: {key} is no text")
    return value


def _count(found: dict[str, Any], key: str) -> int:
    value = found.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise BundleError(f"manifest.json: {key} is no number of messages")
    return value


def _finite(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BundleError(f"manifest.json: {what} is no number")
    try:
        number = float(value)  # a whole number of JSON may be too large for that
    except OverflowError as error:
        raise BundleError(f"manifest.json: {what} is no number") from error
    if not math.isfinite(number):
        raise BundleError(f"manifest.json: {what} is no number")
    return number


def _cap(found: dict[str, Any]) -> float:
    value = _finite(found.get("points_cap"), "points_cap")
    if not 0.0 <= value <= cap_of(str(found["origin"])):
        raise BundleError(
            f"the model wants to give {value:g} points; one of origin {found['origin']} may give"
            f" {cap_of(str(found['origin'])):g}"
        )
    return value


def _numbers(
    found: dict[str, Any],
    key: str,
    kind: type,
    whole: frozenset[str] | set[str] = frozenset(),
    added: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Any]:
    values = found.get(key)
    names = {entry.name for entry in fields(kind)}
    if isinstance(values, dict):
        values = {**added, **values}
    if not isinstance(values, dict) or set(values) != names:
        raise BundleError(f"manifest.json: {key} does not have exactly {', '.join(sorted(names))}")
    checked = {name: _finite(values[name], f"{key}.{name}") for name in names}
    if any(not 0.0 <= value <= 1e6 for name, value in checked.items() if name != "offset"):
        raise BundleError(f"manifest.json: a value of {key} is out of range")
    return {name: int(value) if name in whole else value for name, value in checked.items()}


def _calibration(found: dict[str, Any]) -> Calibration:
    calibration = Calibration(**_numbers(found, "calibration", Calibration))
    if calibration.slope <= 0.0 or abs(calibration.offset) > 100.0:
        raise BundleError("manifest.json: this calibration would turn or hide the order of scores")
    return calibration


def _points_scale(found: dict[str, Any]) -> PointsScale:
    scale = PointsScale(**_numbers(found, "points_scale", PointsScale))
    steps = (scale.surely_ham_from, scale.ham_from, scale.unsure_from, scale.sure_from)
    if not 0.0 < steps[0] < steps[1] <= steps[2] < steps[3] < 1.0:
        raise BundleError("manifest.json: the probabilities of points_scale do not rise")
    if not 0.0 <= scale.knows_little < scale.knows_enough <= 1.0:
        raise BundleError("manifest.json: the known shares of points_scale do not rise")
    return scale


def _texts(found: dict[str, Any], key: str) -> dict[str, str]:
    values = found.get(key, {})
    if not isinstance(values, dict) or not all(
        isinstance(value, str) and value.isprintable() and name.isprintable()
        for name, value in values.items()
    ):
        raise BundleError(f"manifest.json: {key} does not map names to texts")
    return {str(name): str(value) for name, value in values.items()}


def _free_numbers(found: dict[str, Any], key: str) -> dict[str, float]:
    values = found.get(key, {})
    if not isinstance(values, dict) or not all(name.isprintable() for name in values):
        raise BundleError(f"manifest.json: {key} does not map names to numbers")
    return {str(name): _finite(value, f"{key}.{name}") for name, value in values.items()}
