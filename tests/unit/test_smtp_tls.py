"""Where STARTTLS gets its certificate, and how it changes without a restart."""

import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from gateway.core.errors import ConfigError
from gateway.smtp.tls import CertificateFiles, TlsStore

_DAY_MS = 86_400_000


class _Clock:
    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


def _own(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "self-made.pem").read_bytes())


def _given(directory: Path) -> CertificateFiles:
    files = CertificateFiles(certificate=directory / "cert.pem", key=directory / "key.pem")
    _issue(trustme.CA(), files)
    return files


def _issue(ca: trustme.CA, files: CertificateFiles) -> None:
    issued = ca.issue_cert("mx.example.org")
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files.key.write_bytes(issued.private_key_pem.bytes())


def test_without_a_certificate_one_is_made_and_kept(tmp_path: Path) -> None:
    clock = _Clock()
    first = TlsStore(hostname="mx.example.org", directory=tmp_path / "tls", clock=clock)
    made = _own(tmp_path / "tls")
    assert made.subject == made.issuer
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mx.example.org"]
    file = tmp_path / "tls" / "self-made.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert first.current().minimum_version is ssl.TLSVersion.TLSv1_2
    # Another worker, or a restart, uses the same one.
    TlsStore(hostname="mx.example.org", directory=tmp_path / "tls", clock=clock)
    assert _own(tmp_path / "tls") == made
    assert [file.name for file in (tmp_path / "tls").iterdir()] == ["self-made.pem"]


def test_a_self_made_certificate_is_renewed_before_it_ends(tmp_path: Path) -> None:
    clock = _Clock()
    store = TlsStore(hostname="mx.example.org", directory=tmp_path, clock=clock)
    context, made = store.current(), _own(tmp_path)
    clock.ms += 360 * _DAY_MS
    assert store.current() is context
    clock.ms += 10 * _DAY_MS
    assert store.current() is not context
    renewed = _own(tmp_path)
    assert renewed.not_valid_after_utc > made.not_valid_after_utc
    assert renewed.serial_number != made.serial_number


def test_workers_that_start_at_once_on_an_empty_directory_share_one_pair(tmp_path: Path) -> None:
    def start(directory: Path) -> None:
        TlsStore(hostname="mx.example.org", directory=directory, clock=_Clock())

    with ThreadPoolExecutor(8) as workers:
        for turn in range(30):
            directory = tmp_path / str(turn)
            list(workers.map(start, [directory] * 8))  # raises what any of them raised
            assert [file.name for file in directory.iterdir()] == ["self-made.pem"]


def test_a_certificate_with_the_key_of_another_is_made_anew(tmp_path: Path) -> None:
    for name in ("one", "two"):
        TlsStore(hostname="mx.example.org", directory=tmp_path / name, clock=_Clock())
    file = tmp_path / "one" / "self-made.pem"
    certificate, begin, _ = file.read_bytes().partition(b"-----BEGIN PRIVATE KEY")
    other = (tmp_path / "two" / "self-made.pem").read_bytes().partition(begin)[2]
    file.write_bytes(certificate + begin + other)
    TlsStore(hostname="mx.example.org", directory=tmp_path / "one", clock=_Clock())
    assert not file.read_bytes().startswith(certificate)


@pytest.mark.parametrize("damage", [b"", b"no certificate", None])
def test_a_damaged_or_readable_one_is_made_anew(damage: bytes | None, tmp_path: Path) -> None:
    clock = _Clock()
    TlsStore(hostname="mx.example.org", directory=tmp_path, clock=clock)
    made, file = _own(tmp_path), tmp_path / "self-made.pem"
    if damage is None:
        file.chmod(0o644)  # its key may have been read
    else:
        file.write_bytes(damage)
    TlsStore(hostname="mx.example.org", directory=tmp_path, clock=clock)
    assert _own(tmp_path) != made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_changed_files_are_noticed_by_themselves(tmp_path: Path) -> None:
    clock, files = _Clock(), _given(tmp_path)
    store = TlsStore(hostname="x", directory=tmp_path / "no", clock=clock, given=files)
    context = store.current()
    assert not store.refresh()
    _issue(trustme.CA(), files)
    assert store.current() is context  # within the minute nobody looks
    clock.ms += 61_000
    changed = store.current()
    assert changed is not context
    assert not (tmp_path / "no").exists()


def test_a_change_that_cannot_be_used_leaves_the_old_one_serving(tmp_path: Path) -> None:
    files = _given(tmp_path)
    store = TlsStore(hostname="x", directory=tmp_path, clock=_Clock(), given=files)
    context = store.current()
    files.key.write_bytes(b"half a key")
    assert not store.refresh()
    files.key.unlink()
    assert not store.refresh()
    assert store.current() is context
    _issue(trustme.CA(), files)
    assert store.refresh()
    assert store.current() is not context


@pytest.mark.parametrize("hostname", ["", "müller.example"])
def test_a_name_no_certificate_can_have_is_told(hostname: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"smtp\.hostname"):
        TlsStore(hostname=hostname, directory=tmp_path, clock=_Clock())


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be kept"):
        TlsStore(hostname="mx", directory=tmp_path / "file" / "tls", clock=_Clock())


def test_a_given_certificate_must_work_from_the_start(tmp_path: Path) -> None:
    files = _given(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        TlsStore(
            hostname="x",
            directory=tmp_path,
            clock=_Clock(),
            given=CertificateFiles(certificate=tmp_path / "none.pem", key=files.key),
        )
    files.certificate.write_bytes(b"no certificate")
    with pytest.raises(ConfigError, match="cannot be used"):
        TlsStore(hostname="x", directory=tmp_path, clock=_Clock(), given=files)
