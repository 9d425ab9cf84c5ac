"""One tree of errors; what can reach an SMTP client carries the reply it gets."""

from typing import ClassVar

from gateway.core.reply import STORAGE_FULL, TRY_AGAIN, Reply


class GatewayError(Exception):
    """Anything Schwamm itself reports; its text tells a person what to do next.

    With ``parameters`` the message is a sentence of the catalogue, in English, with their names in
    braces: whoever shows the error can say it in the reader's language (``gateway.locale``).
    """

    def __init__(self, message: str = "", /, **parameters: object) -> None:
        super().__init__(message.format_map(parameters) if parameters else message)
        self.sentence = message
        self.parameters = parameters


class ConfigError(GatewayError):
    """The configuration cannot be used; nothing was changed."""


class AddressError(GatewayError):
    """An address that RFC 5321 §4.1.2 does not allow or that we refuse to route."""


class InstanceRunningError(GatewayError):
    """Another process owns this state directory."""


class SmtpError(GatewayError):
    """An error with an answer for the SMTP client; the answer never tells the cause."""

    def __init__(self, message: str, reply: Reply = TRY_AGAIN) -> None:
        super().__init__(message)
        self.reply = reply


class StorageError(SmtpError):
    """A record or journal could not be made durable: the mail is not ours yet."""


class StorageFullError(StorageError):
    """No space, no inodes or over quota: the client is asked to come back (452)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, STORAGE_FULL)


class ScanFailedError(SmtpError):
    """The scan as a whole failed: DEFER, never a silent pass."""


class RecordFormatError(GatewayError):
    """A record file that is torn, tampered with, or of a newer format."""


class IndexUnavailableError(GatewayError):
    """The index is locked, corrupt or of a newer schema; mail goes on without it."""


class ResolverError(GatewayError):
    """No usable answer from DNS: a timeout, SERVFAIL, REFUSED or nonsense (``core.dns``)."""

    code: ClassVar[str] = "dns"
