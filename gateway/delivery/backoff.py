"""When a copy that could not be delivered is tried again."""

from typing import Final

from gateway.settings import DeliverySettings

SPREAD: Final = 0.2  # a delay varies by a fifth to both sides, so that a crowd does not come back


def retry_delay_s(attempts: int, settings: DeliverySettings, chance: float) -> float:
    """Seconds from the ``attempts``-th failed attempt to the next one.

    ``first_retry_s`` after the first, doubling up to ``longest_retry_s``; ``chance`` (0 to 1) picks
    the place within the spread.
    """
    doublings = min(max(attempts - 1, 0), 40)
    delay_s = min(settings.first_retry_s * 2.0**doublings, settings.longest_retry_s)
    return delay_s * (1 - SPREAD + 2 * SPREAD * chance)
