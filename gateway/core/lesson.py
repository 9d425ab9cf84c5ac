"""What can be learned of a mail without its bytes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a label keeps of its mail: hashed features, campaign fingerprint, arrival (UTC ms)."""

    feature_spec: str
    hashes: bytes
    fingerprint: bytes
    arrived_at_ms: int
