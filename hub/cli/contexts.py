"""Which hub a command talks to, and with what credential.

``FELLOE_CREDENTIAL`` names a credential file (the hub writes one: ``admin.yaml`` in its data folder) and ``FELLOE_HUB``
a URL that replaces the one in the credential. Without them the current context of ``~/.config/felloe/config.yaml``
counts, which has contexts as a kubeconfig has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from felloe.errors import ConfigError, Place


@dataclass(frozen=True, slots=True)
class Credential:
    """Where a hub is and how to prove oneself to it. `ca` is PEM, empty for the system's; `origin` is for messages."""

    server: str
    token: str
    ca: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Contexts:
    """The configuration file: credentials by the name of their context."""

    current: str
    credentials: Mapping[str, Credential]


def config_path(environ: Mapping[str, str]) -> Path:
    """Return the path of the configuration file (XDG Base Directory Specification)."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".config")
    return Path(base) / "felloe" / "config.yaml"


def resolve(environ: Mapping[str, str]) -> Credential:
    """Return the credential to use. Raise ConfigError where there is none, saying how to get one."""
    if file := environ.get("FELLOE_CREDENTIAL"):
        credential = read_credential(Path(file))
    else:
        path = config_path(environ)
        contexts = read_contexts(path)
        if not contexts.credentials:
            raise ConfigError(
                "it is not known which hub to talk to: set FELLOE_CREDENTIAL to the admin.yaml in the data folder of "
                "the hub, or take it up for good with: felloe config import NAME --credential DATA/admin.yaml"
            )
        credential = _current(contexts, path)
    if server := environ.get("FELLOE_HUB"):
        credential = replace(credential, server=server if "://" in server else f"https://{server}")
    if not credential.server.startswith("https://"):
        origin = "FELLOE_HUB" if server else credential.origin
        raise ConfigError(f"the hub's address {credential.server!r} in {origin} is no https:// URL")
    return credential


def read_credential(path: Path) -> Credential:
    """Return the credential in a file. Raise ConfigError where it is none."""
    return _credential(_read(path), Place(str(path)))


def read_contexts(path: Path) -> Contexts:
    """Return the contexts of a configuration file, none without one. Raise ConfigError where it is broken."""
    if not path.exists():
        return Contexts("", {})
    held = _read(path)
    listed = held.get("contexts") or []
    if not isinstance(listed, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in listed
    ):
        raise ConfigError("must be a list of contexts, each with a name", Place(str(path), field="contexts"))
    credentials = {one["name"]: _credential(one, Place(str(path), f"context {one['name']}")) for one in listed}
    current = held.get("current-context")
    return Contexts(current if isinstance(current, str) else "", credentials)


def write_contexts(path: Path, contexts: Contexts) -> None:
    """Write the configuration file for its owner alone. Raise ConfigError where that can't be done."""
    from hub.private import write_private

    listed = [
        {"name": name} | {key: value for key, value in asdict(credential).items() if key != "origin" and value}
        for name, credential in contexts.credentials.items()
    ]
    held = {"current-context": contexts.current, "contexts": listed}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, yaml.safe_dump(held, sort_keys=False).encode())
    except OSError as error:
        raise ConfigError(f"can't be written: {error.strerror}", Place(str(path))) from error


def use(contexts: Contexts, name: str, path: Path) -> Contexts:
    """Return the contexts with another current one. Raise ConfigError where there is none of that name."""
    if name not in contexts.credentials:
        known = ", ".join(contexts.credentials) or "none yet: felloe config import NAME --credential FILE"
        raise ConfigError(f"there is no context {name!r}; there are: {known}", Place(str(path)))
    return replace(contexts, current=name)


def environment() -> Mapping[str, str]:
    """Return this process's environment."""
    return os.environ


def _current(contexts: Contexts, path: Path) -> Credential:
    credential = contexts.credentials.get(contexts.current)
    if credential is None:
        known = ", ".join(contexts.credentials)
        message = f"the current context {contexts.current!r} is not there; choose one of {known}"
        raise ConfigError(f"{message} with: felloe config use-context NAME", Place(str(path)))
    return credential


def _credential(held: Mapping[str, object], place: Place) -> Credential:
    values = {}
    for key in ("server", "token", "ca"):
        value = held.get(key, "")
        if not isinstance(value, str) or (not value and key != "ca"):
            raise ConfigError("a credential needs it, as a text", replace(place, field=key))
        values[key] = value
    if not values["token"].isascii() or not values["token"].isprintable():
        raise ConfigError("a token has only printable ASCII characters", replace(place, field="token"))
    return Credential(**values, origin=str(place))


def _read(path: Path) -> dict[str, object]:
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"can't be read: {reason}", Place(str(path))) from error
    except yaml.YAMLError as error:
        raise ConfigError("is no YAML", Place(str(path))) from error
    if not isinstance(held, dict):
        raise ConfigError("must be a YAML object", Place(str(path)))
    return held
