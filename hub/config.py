"""How one hub is run: from flags and a configuration file, checked once, frozen after that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from felloe.errors import ConfigError, Place
from hub.sources.spec import parse_fleet_url


class Address(NamedTuple):
    """A host and a port to listen on; port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HubConfig:
    """The settings of one hub.

    `fleet` is the fleet repository as ``URL[@REF]`` (`hub.sources.spec.parse_fleet_url`). `sync_path` is a template
    with ``${cluster_name}``, empty where clusters without a Cluster object get nothing. `instead_of` are pairs
    (prefix, replacement) as git's ``url.<base>.insteadOf``. `advertise` are the names and addresses, besides the one
    listened on, that the hub's certificate is good for; the first is what credentials and tokens point to.
    `kustomize` is the binary to use, None to look for it in PATH. `epoch` is the lowest one to start with: spokes
    refuse a hub of a lower epoch than they have seen, as one is that was restored from a backup.
    """

    data: Path
    fleet: str
    grpc: Address
    http: Address
    fleet_path: str = "fleet/"
    sync_path: str = ""
    secrets: Path | None = None
    instead_of: tuple[tuple[str, str], ...] = ()
    advertise: tuple[str, ...] = ()
    kustomize: Path | None = None
    epoch: int = 0

    def reachable(self, bound: Address) -> str:
        """Return HOST:PORT at which people reach what is bound: the first advertised name, else the bound host.

        What listens on loopback is reached there alone, whatever is advertised.
        """
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to
        advertised = self.advertise and not _is_loopback(bound.host)
        host = self.advertise[0] if advertised else anywhere.get(bound.host, bound.host)
        return str(Address(host, bound.port))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Given = Mapping[str, object]
"""Settings as people gave them, by their name in the file: a text or a list of texts; None or empty: not given."""

KEYS: Final = (
    "data",
    "fleet",
    "fleet-path",
    "sync-path",
    "secrets",
    "instead-of",
    "advertise",
    "kustomize",
    "epoch",
    "grpc",
    "http",
)
"""The settings by their names in the file; the flag is the same after two dashes."""


def load_config(flags: Given, file: Path | None) -> HubConfig:
    """Return the settings of flags and file; a flag wins over the same key in the file.

    Raise ConfigError naming the flag or the file's key that is missing, unknown or impossible.
    """
    given = _Given({key: value for key, value in flags.items() if value not in (None, "", [], ())}, file)
    return HubConfig(
        data=Path(given.text("data")).absolute(),
        fleet=given.repository("fleet"),
        grpc=given.address("grpc"),
        http=given.address("http"),
        fleet_path=given.text("fleet-path", "fleet/"),
        sync_path=given.text("sync-path", ""),
        secrets=given.path("secrets"),
        instead_of=tuple(given.pair(text) for text in given.texts("instead-of")),
        advertise=given.texts("advertise"),
        kustomize=given.path("kustomize"),
        epoch=given.number("epoch"),
    )


class _Given:
    def __init__(self, flags: Given, file: Path | None) -> None:
        self._flags = flags
        self._name = str(file) if file else ""
        self._file = _read(file) if file else {}

    def _place(self, key: str) -> Place:
        return Place(f"--{key}") if key in self._flags or not self._name else Place(self._name, field=key)

    def _value(self, key: str) -> object:
        return self._flags[key] if key in self._flags else self._file.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._value(key)
        if value is None and default is not None:
            return default
        if value is None:
            place = Place(f"--{key}")
            raise ConfigError(f"is needed, as a flag or as the key {key!r} of the file that --config names", place)
        if not isinstance(value, str) or not value:
            raise ConfigError("must be a text that is not empty", self._place(key))
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._value(key) or []
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
            raise ConfigError("must be a list of texts", self._place(key))
        return tuple(value)

    def path(self, key: str) -> Path | None:
        text = self.text(key, "")
        if not text:
            return None
        path = Path(text).absolute()
        if not path.exists():
            raise ConfigError(f"there is no {text}", self._place(key))
        return path

    def address(self, key: str) -> Address:
        text = self.text(key)
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            message = f"{text!r} is no HOST:PORT, as 127.0.0.1:8443; port 0 lets the system choose one"
            raise ConfigError(message, self._place(key))
        return Address(host, int(port))

    def number(self, key: str) -> int:
        value = self._value(key)
        text = "0" if value is None else str(value)
        if not text.isdecimal() or not text.isascii():
            raise ConfigError(f"{text!r} is no whole number", self._place(key))
        return int(text)

    def repository(self, key: str) -> str:
        text = self.text(key)
        try:
            parse_fleet_url(text)
        except ConfigError as error:
            raise ConfigError(error.message, self._place(key)) from error
        return text

    def pair(self, text: str) -> tuple[str, str]:
        prefix, equals, replacement = text.partition("=")
        if not equals or not prefix or not replacement:
            message = f"{text!r} is no PREFIX=REPLACEMENT, as https://github.com/=https://mirror.example.com/github/"
            raise ConfigError(message, self._place("instead-of"))
        return prefix, replacement


def _read(file: Path) -> dict[str, object]:
    try:
        held = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"can't be read: {error}", Place(str(file))) from error
    if held is None:
        return {}
    if not isinstance(held, dict):
        raise ConfigError("must be a YAML object", Place(str(file)))
    if unknown := [key for key in held if key not in KEYS]:
        raise ConfigError(f"is no setting; there are {', '.join(KEYS)}", Place(str(file), field=str(unknown[0])))
    return held
