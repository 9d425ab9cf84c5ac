"""What can go wrong with what is stored, beyond the core's errors."""

from gateway.core.errors import GatewayError, RecordFormatError


class RecordMissingError(RecordFormatError):
    """There is no record of this id: never written, or deleted meanwhile."""


class DirectoryError(GatewayError):
    """A change of customers, domains or people that cannot be made; nothing was changed."""
