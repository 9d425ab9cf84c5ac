"""The certificate of STARTTLS: the operator's, else a self-made one; renewed without restart."""

import contextlib
import datetime
import fcntl
import os
import ssl
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.core.clock import Clock
from gateway.core.errors import ConfigError

_log = structlog.get_logger()
_SELF_MADE = "self-made.pem"
_VALID_DAYS = 397
_RENEW_DAYS = 30
_LOOK_EVERY_S = 5.0
_Seen = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Where certificate chain and key lie; both may be one file."""

    certificate: Path
    key: Path


class TlsStore:
    """Keeps the context for new handshakes up to date with the files it is made from.

    Without files of the operator a self-signed certificate for ``hostname`` is made in
    ``directory``, and made anew 30 days before it ends; sending servers do not check names unless
    told to (RFC 7672 §1.3), so it keeps the mail from being read on its way all the same. Workers
    share the files, and make and load them in turn: two that start on an empty directory would
    else read the certificate of one pair and the key of the other. A change that cannot be used
    is logged, and the old context goes on serving.

    Raises:
        ConfigError: the files cannot be read, made or used.
    """

    def __init__(
        self,
        *,
        hostname: str,
        directory: Path,
        clock: Clock,
        given: CertificateFiles | None = None,
    ) -> None:
        self._hostname = hostname
        self._clock = clock
        self._given = given
        self._own = directory / _SELF_MADE
        self._files = given or CertificateFiles(certificate=self._own, key=self._own)
        with self._one_at_a_time():
            if given is None:
                self._renew_own()
            self._seen = self._look()
            self._context = _context(self._files)
        self._looked_at_s = clock.monotonic_s()

    def current(self) -> ssl.SSLContext:
        """The context for a handshake that starts now; looks at the files every five seconds."""
        if self._clock.monotonic_s() - self._looked_at_s >= _LOOK_EVERY_S:
            self.refresh()
        return self._context

    def refresh(self) -> bool:
        """Look at the files now; True when a changed certificate serves from here on."""
        self._looked_at_s = self._clock.monotonic_s()
        try:
            with self._one_at_a_time():
                if self._given is None:
                    self._renew_own()
                seen = self._look()
                if seen == self._seen:
                    return False
                self._context = _context(self._files)
        except ConfigError as error:
            _log.error("tls_certificate_unusable", reason=str(error))
            return False
        self._seen = seen
        _log.info("tls_certificate_loaded", certificate=str(self._files.certificate))
        return True

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Keep the other workers from renewing our own pair while it is made or read."""
        if self._given is not None:
            yield
            return
        with _locked(self._own.parent):
            yield

    def _look(self) -> _Seen:
        try:
            found = [path.stat() for path in (self._files.certificate, self._files.key)]
        except OSError as error:
            raise ConfigError(f"TLS certificate or key cannot be read: {error}") from error
        return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in found)

    def _renew_own(self) -> None:
        now = datetime.datetime.fromtimestamp(self._clock.now_ms() / 1000, datetime.UTC)
        if _serves_until(self._own, now + datetime.timedelta(days=_RENEW_DAYS)):
            return
        try:
            _write_private(self._own, _self_made(self._hostname, now))
        except OSError as error:
            raise ConfigError(f"self-made TLS certificate cannot be kept: {error}") from error
        except ValueError as error:
            raise ConfigError(
                f"no TLS certificate can be made for smtp.hostname {self._hostname!r}: {error}"
            ) from error


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock (flock on the directory itself, so no file stays behind)."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"self-made TLS certificate cannot be kept: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _context(files: CertificateFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"TLS certificate {files.certificate} with key {files.key} cannot be used: {error}"
        ) from error
    return context


def _serves_until(path: Path, moment: datetime.datetime) -> bool:
    """Whether this is a private file of ours with a pair that is good until then."""
    try:
        private = stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        pem = path.read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, password=None)
    except (OSError, ValueError, UnsupportedAlgorithm):
        return False  # none yet, or damaged: it is ours, so a new one takes its place
    pair = certificate.public_key() == key.public_key()
    return private and pair and certificate.not_valid_after_utc > moment


def _self_made(hostname: str, now: datetime.datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_private(path: Path, pem: bytes) -> None:
    """One file with certificate and key, replaced at once: no reader sees half of a pair."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # made with mode 0600
        try:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
