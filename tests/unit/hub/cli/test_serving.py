from __future__ import annotations

from pathlib import Path

import pytest

from felloe.errors import ConfigError
from hub.api.credentials import open_secrets
from hub.config import Address, HubConfig, load_config
from tests.unit.hub.cli.conftest import Felloe

NEEDED: dict[str, object] = {
    "data": "data",
    "fleet": "https://git/f.git",
    "grpc": "127.0.0.1:0",
    "http": "127.0.0.1:8443",
}


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text(
        "data: /var/lib/felloe\nfleet: https://git/f.git@v1\ngrpc: '[::1]:9443'\nhttp: 0.0.0.0:8443\n"
        "instead-of: [https://github.com/=https://mirror/gh/]\nadvertise: [hub.example.com]\n"
    )
    config = load_config({"fleet": "https://git/other.git@feature/x", "data": "", "advertise": []}, file)
    assert config == HubConfig(
        data=Path("/var/lib/felloe"),
        fleet="https://git/other.git@feature/x",
        grpc=Address("::1", 9443),
        http=Address("0.0.0.0", 8443),  # noqa: S104 - not bound to
        instead_of=(("https://github.com/", "https://mirror/gh/"),),
        advertise=("hub.example.com",),
    )
    assert config.reachable(config.http) == "hub.example.com:8443"
    assert config.reachable(Address("127.0.0.1", 1)) == "127.0.0.1:1", "nobody reaches it by the advertised name"
    assert load_config(NEEDED, None).reachable(Address("0.0.0.0", 1)) == "127.0.0.1:1"  # noqa: S104


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"fleet": None}, "--fleet"),
        ({"fleet": "https://git/f.git@"}, "--fleet: "),
        ({"fleet": "nonsense"}, "--fleet: "),
        ({"grpc": "9443"}, "--grpc: '9443' is no HOST:PORT"),
        ({"http": "host:99999"}, "HOST:PORT"),
        ({"secrets": "/nowhere/at/all"}, "--secrets: there is no"),
        ({"instead-of": ["nothing"]}, "PREFIX=REPLACEMENT"),
    ],
)
def test_impossible_flags_are_named(given: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_config(NEEDED | given, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dta: x", "hub.yaml: dta: is no setting"),
        ("data: 3", "hub.yaml: data: must be a text"),
        ("advertise: one", "advertise: must be a list"),
        ("[]", "YAML object"),
        ("{", "can't be read"),
    ],
)
def test_an_impossible_file_is_told_by_its_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text(text)
    flags = {key: value for key, value in NEEDED.items() if key not in text}
    with pytest.raises(ConfigError, match=says):
        load_config(flags, file)


def test_hub_serve_without_its_settings_says_which(felloe: Felloe) -> None:
    done = felloe("hub", "serve")
    assert done.code == 1
    assert "error: --data: is needed" in done.err
    assert felloe("hub", "serve", "--config", "/nowhere.yaml").code == 1


def test_the_webhooks_secret_is_printed_for_its_operator(felloe: Felloe, tmp_path: Path) -> None:
    assert felloe("hub", "webhook-secret", "--data", str(tmp_path)).code == 1
    secret = open_secrets(tmp_path).webhook_secret
    assert felloe("hub", "webhook-secret", "--data", str(tmp_path)).out == f"{secret}\n"
