"""Infrastructure settings: one TOML file, overridden by the environment (``SCHWAMM_SMTP__PORT``).

Customers, domains, people, lists and thresholds per domain live in the database, not here.
"""

import difflib
import hashlib
import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError

from gateway.core.errors import ConfigError

SYSTEM_PATH = Path("/etc/schwamm/gateway.toml")
LOCAL_NAME = "gateway.toml"
_PREFIX = "SCHWAMM_"
_NOT_SETTINGS = frozenset({"SCHWAMM_SUPERVISED", "SCHWAMM_CORPUS"})

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Points = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0)]


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        ipaddress.ip_network(text)  # a ValueError says what is wrong, e.g. host bits set
    return texts


NetworkNames = Annotated[tuple[str, ...], AfterValidator(_networks)]


def _public_key(text: str) -> str:
    if re.fullmatch(r"([0-9a-f]{64})?", text) is None:
        raise ValueError(
            "64 hexadecimal digits are wanted, as 'schwamm model key FILE' prints them"
        )
    return text


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSettings(_Section):
    """This machine among others."""

    name: str = Field("n1", pattern=r"^[a-z0-9]{1,12}$")
    language: Literal["de", "en"] = "de"
    user: str = ""  # who the supervisor becomes when it was started by root


class PathSettings(_Section):
    """Where state lies; relative paths start at the configuration file."""

    state: Path = Path("var")


class SmtpSettings(_Section):
    """The SMTP front end. Times in seconds, sizes in octets."""

    host: str = "127.0.0.1"
    port: Port = 2525
    workers: Annotated[int, Field(ge=0, le=64)] = 0  # 0: one per core
    hostname: str = Field(default_factory=socket.gethostname)
    max_message_bytes: Positive = 50 * 1024 * 1024
    memory_budget_bytes: Positive = 256 * 1024 * 1024  # per worker, for messages in flight
    spill_bytes: Positive = 1024 * 1024  # above it a message goes to a temporary file
    max_recipients: Positive = 100
    max_connections: Positive = 1000  # per worker
    # Per IPv4 /24 and IPv6 /64, all workers together; 0: no limit
    connections_per_network: NotNegative = 100
    connection_rate_per_min: NotNegative = 600
    message_rate_per_min: NotNegative = 1200
    unknown_rate_per_min: NotNegative = 60  # recipients that do not exist
    login_failures_per_min: NotNegative = 10
    unlimited_networks: NetworkNames = ("127.0.0.0/8", "::1/128")
    proxy_networks: NetworkNames = ()  # whose connections begin with a PROXY header
    greet_delay_s: Annotated[float, Field(ge=0, le=30)] = 2.0  # new clients; who talks is refused
    unknown_delay_s: Annotated[float, Field(ge=0, le=30)] = 5.0  # longest pause before a refusal
    max_errors: Positive = 20  # per connection
    command_timeout_s: Seconds = 300  # RFC 5321 §4.5.3.2.7
    data_timeout_s: Seconds = 600  # the whole of DATA
    data_min_bytes_per_s: Positive = 100  # after a first grace of 30 s
    session_timeout_s: Seconds = 3600
    max_received: Positive = 100
    auth: bool = False  # people of the directory may log in, under TLS
    tls_certificate: Path | None = None  # unset: a self-made one in the state directory
    tls_key: Path | None = None
    drain_timeout_s: Seconds = 30
    hang_timeout_s: Seconds = 30  # a process without a heartbeat for so long is killed


class WebSettings(_Section):
    """The web front end."""

    host: str = "127.0.0.1"
    port: Port = 8025


class DnsSettings(_Section):
    """The resolver. Without ``servers`` those of the machine are asked."""

    servers: tuple[str, ...] = ()  # "127.0.0.1" or "127.0.0.1:5353"
    timeout_s: Seconds = 1.0  # one try
    budget_s: Seconds = 3.0  # all look-ups of a message
    cache_entries: Positive = 20_000


class DnsblSettings(_Section):
    """One block list (RFC 5782). ``codes`` names the symbol of each answer that is a listing."""

    zone: str
    codes: dict[str, str]
    enabled: bool = True
    private_clients: bool = False  # also ask about private and loopback addresses (trial, tests)
    terms: str = ""

    @field_validator("codes")
    @classmethod
    def _codes_are_listings(cls, codes: dict[str, str]) -> dict[str, str]:
        for code in codes:
            if not code.startswith("127.") or code.startswith("127.255.255."):
                raise ValueError(
                    f"{code} is no listing: codes lie in 127.0.0.0/8, not 127.255.255.x"
                )
        return codes


class ScoreSettings(_Section):
    """Points per symbol and the cap of each group; what is not named keeps its default."""

    symbols: dict[str, Points] = {}
    caps: dict[str, Points] = {}
    scan_deadline_s: Seconds = 20.0


class DeliverySettings(_Section):
    """Handing mail on. Times in seconds."""

    connect_timeout_s: Seconds = 10
    command_timeout_s: Seconds = 60
    final_timeout_s: Seconds = 300  # after the final dot; RFC 5321 §4.5.3.2.6 asks for 10 minutes
    connections_per_next_hop: Positive = 20
    idle_connection_s: Seconds = 30
    first_retry_s: Seconds = 60
    longest_retry_s: Seconds = 3600
    expire_after_s: Seconds = 5 * 86400
    delay_report_after_s: Annotated[float, Field(ge=0)] = 4 * 3600  # 0: no such reports


class TrialSettings(_Section):
    """For trying Schwamm out: a small DNS server of our own with a block list in it."""

    dns_port: Port = 0  # 0: none
    zone: str = "dnsbl.trial.example"
    listed: tuple[str, ...] = ("127.0.0.66",)


class ModelSettings(_Section):
    """The classifier's models; ``directory`` defaults to ``models`` in the state directory."""

    directory: Path | None = None
    # The public half of the key that models of this site are signed with, 64 hexadecimal digits.
    # With it no other model of the site serves; the shipped one needs none.
    signed_by: Annotated[str, AfterValidator(_public_key)] = ""
    words: Annotated[int, Field(ge=0, le=50)] = 10


class TrainingSettings(_Section):
    """What training may learn from."""

    labels_per_person_and_day: Positive = 200  # more of them are shown, and not learned
    signing_key: Path | None = None  # a file that ``schwamm model key`` made


class RetentionSettings(_Section):
    """How long what is known of mail is kept; held bytes have a time of their own per domain."""

    # Days after the last event of a mail that is not here any more. Whether mail drifts away from
    # the model is seen in 31 days (models.drift).
    facts_days: Positive = 35
    # Days for which the features of mail that went on are kept (no bytes), so that a spam that was
    # missed can still be labelled. 0: none.
    features_days: Annotated[int, Field(ge=0, le=366)] = 30


class IndexSettings(_Section):
    """The index; without ``url`` it is SQLite in the state directory."""

    url: str = ""


class LogSettings(_Section):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    personal_data: bool = False  # addresses and subjects


def _distinct(zones: tuple[DnsblSettings, ...]) -> tuple[DnsblSettings, ...]:
    names = [zone.zone for zone in zones]
    if len(names) != len(set(names)):
        raise ValueError("a DNSBL zone is listed twice")
    return zones


class Settings(BaseSettings):
    """All of ``gateway.toml``."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    node: NodeSettings = NodeSettings(name="n1")
    paths: PathSettings = PathSettings()
    smtp: SmtpSettings = SmtpSettings()
    web: WebSettings = WebSettings()
    dns: DnsSettings = DnsSettings()
    dnsbl: Annotated[tuple[DnsblSettings, ...], AfterValidator(_distinct)] = ()
    scores: ScoreSettings = ScoreSettings()
    delivery: DeliverySettings = DeliverySettings()
    trial: TrialSettings = TrialSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    retention: RetentionSettings = RetentionSettings()
    index: IndexSettings = IndexSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file, nothing else."""
        del settings_cls, dotenv_settings, file_secret_settings
        return (env_settings, init_settings)

    @property
    def digest(self) -> str:
        """Names this state of the settings in verdicts: eight hexadecimal digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]

    @property
    def model_key(self) -> bytes | None:
        """The public key that a site's models must be signed with; None: no signature is asked."""
        return bytes.fromhex(self.model.signed_by) or None

    @property
    def models_directory(self) -> Path:
        """Where published models and the pointer to the live one lie."""
        return self.model.directory or self.paths.state / "models"

    @property
    def index_url(self) -> str:
        """SQLAlchemy's URL of the index."""
        return self.index.url or f"sqlite:///{self.paths.state / 'index.db'}"

    @property
    def directory_url(self) -> str:
        """SQLAlchemy's URL of the directory (customers, domains, people); it is no index."""
        return self.index.url or f"sqlite:///{self.paths.state / 'directory.db'}"


def find_config(given: Path | None) -> Path:
    """The configuration file: the one given, else ``gateway.toml`` here, else the system's.

    Raises:
        ConfigError: when there is none, with the command that makes one.
    """
    candidates = [given] if given else [Path(LOCAL_NAME), SYSTEM_PATH]
    for path in candidates:
        if path.is_file():
            return path
    looked = " and ".join(str(path) for path in candidates)
    raise ConfigError(
        f"no configuration at {looked}; make one with: "
        "schwamm init DIR --domain example.org --next-hop mail.example.org:25"
    )


def load(path: Path) -> Settings:
    """Read and check a configuration file; relative paths in it start at its own directory.

    Raises:
        ConfigError: for unreadable TOML, unknown names (the nearest right one is named) and bad
        values.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    _refuse_unknown_environment()
    try:
        settings = Settings(**data)
    except ValidationError as error:
        raise ConfigError("; ".join(_complaints(error, path))) from error
    except SettingsError as error:
        raise ConfigError(f"the environment: {error}; write a section as JSON") from error
    return _with_absolute_paths(settings, path.resolve().parent)


def _with_absolute_paths(settings: Settings, base: Path) -> Settings:
    def absolute(value: Path | None) -> Path | None:
        return None if value is None else base / value

    smtp = settings.smtp.model_copy(
        update={
            "tls_certificate": absolute(settings.smtp.tls_certificate),
            "tls_key": absolute(settings.smtp.tls_key),
        }
    )
    return settings.model_copy(
        update={
            "paths": PathSettings(state=base / settings.paths.state),
            "model": settings.model.model_copy(
                update={"directory": absolute(settings.model.directory)}
            ),
            "smtp": smtp,
            "training": settings.training.model_copy(
                update={"signing_key": absolute(settings.training.signing_key)}
            ),
        }
    )


def _refuse_unknown_environment() -> None:
    """A mistyped variable would be ignored without a word, ``SCHWAMM_SMTP_PORT`` for one."""
    sections = {name.upper() for name in Settings.model_fields}
    for name in os.environ:
        upper = name.upper()
        if not upper.startswith(_PREFIX) or upper in _NOT_SETTINGS:
            continue
        section, two, _ = upper[len(_PREFIX) :].partition("__")
        if section in sections and (two or section not in _names_of_fields()):
            continue
        known = [f"{_PREFIX}{one}" for one in (*sections, *_names_of_fields())]
        raise ConfigError(f"environment variable {name} is no setting{_nearest(upper, known)}")


def _names_of_fields() -> list[str]:
    return [
        f"{section}__{field}".upper()
        for section, info in Settings.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
        for field in info.annotation.model_fields
    ]


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _complaints(error: ValidationError, path: Path) -> Iterable[str]:
    """What is wrong, and where it was written: the environment goes before the file."""
    variables = {name.upper(): name for name in os.environ}
    for problem in error.errors():
        place = [str(step) for step in problem["loc"]]
        dotted = ".".join(place)
        variable = variables.get(_PREFIX + "__".join(place).upper())
        where = f"environment variable {variable}" if variable else str(path)
        if problem["type"] == "extra_forbidden":
            known = _known_names(place[:-1])
            hint = _nearest(place[-1], known) or f"; known here: {', '.join(sorted(known))}"
            yield f"{where}: unknown setting {dotted!r}{hint}"
        else:
            yield f"{where}: {dotted!r}: {problem['msg']} (got {problem['input']!r})"


def _known_names(place: list[str]) -> list[str]:
    fields: Mapping[str, Any] = Settings.model_fields
    for step in place:
        if step.isdigit():
            continue
        annotation = DnsblSettings if step == "dnsbl" else fields[step].annotation
        fields = annotation.model_fields
    return list(fields)
