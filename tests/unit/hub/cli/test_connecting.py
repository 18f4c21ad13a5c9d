from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import yaml

from tests.unit.hub.api.inmemory import Threaded, make_certificates
from tests.unit.hub.cli.conftest import Felloe


def credential(folder: Path, **values: str) -> str:
    path = folder / "credential.yaml"
    path.write_text(yaml.safe_dump({"server": "https://127.0.0.1:1", "token": "t"} | values))
    return str(path)


def test_without_any_hub_it_says_how_to_name_one(felloe: Felloe) -> None:
    done = felloe("get", "clusters")
    assert done.code == 1
    assert "FELLOE_CREDENTIAL" in done.err
    assert "felloe config import" in done.err


def test_a_hub_that_is_not_there(felloe: Felloe, tmp_path: Path) -> None:
    done = felloe("get", "clusters", FELLOE_CREDENTIAL=credential(tmp_path))
    assert done.code == 1
    assert "https://127.0.0.1:1 can't be reached: Connection refused" in done.err
    assert "Traceback" not in done.err


def test_another_token_is_refused_and_not_shown(hub: Threaded, felloe: Felloe, tmp_path: Path) -> None:
    wrong = credential(tmp_path, server=hub.served.url, ca=hub.served.ca, token="not-the-token")
    done = felloe("get", "clusters", FELLOE_CREDENTIAL=wrong)
    assert done.code == 1
    assert f"refuses the token in {wrong}" in done.err
    assert "not-the-token" not in done.err


def test_a_hub_that_another_ca_signed_gets_no_token(hub: Threaded, felloe: Felloe, tmp_path: Path) -> None:
    other = (make_certificates(tmp_path / "other") / "ca.pem").read_text()
    done = felloe("get", "clusters", FELLOE_CREDENTIAL=credential(tmp_path, server=hub.served.url, ca=other))
    assert done.code == 1
    assert "does not prove to be the one of" in done.err
    assert felloe("get", "clusters", FELLOE_CREDENTIAL=credential(tmp_path, server=hub.served.url)).code == 1


def test_a_name_that_the_certificate_does_not_have(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("get", "clusters", FELLOE_HUB=f"localhost:{hub.served.server.port}")
    assert done.code == 1
    assert "--advertise" in done.err


def test_something_else_at_the_address(felloe: Felloe, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"SSH-2.0-nothing\r\n")

        threading.Thread(target=answer, daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        done = felloe("get", "clusters", FELLOE_CREDENTIAL=credential(tmp_path, server=url))
    assert done.code == 1
    assert "does not speak TLS" in done.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "YAML object"),
        ("{", "no YAML"),
        ("[]", "YAML object"),
        ("server: https://x", "token"),
        ("token: t", "server"),
        ("server: http://127.0.0.1:1\ntoken: t", "https://"),
        ("server: https://127.0.0.1:1\ntoken: t\nca: nonsense", "no PEM certificate"),
        ('server: https://127.0.0.1:1\ntoken: "a\\nb"', "printable"),
    ],
)
def test_a_credential_that_is_none(felloe: Felloe, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    done = felloe("get", "clusters", FELLOE_CREDENTIAL=str(path))
    assert done.code == 1
    assert says in done.err
    assert str(path) in done.err


def test_contexts(hub: Threaded, felloe: Felloe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FELLOE_CREDENTIAL")
    assert felloe("config", "current-context").code == 1
    admin = str(hub.served.credential)
    assert felloe("config", "import", "one", "--credential", admin).code == 0
    assert felloe("config", "import", "two", "--credential", credential(tmp_path)).code == 0
    assert felloe("config", "current-context").out == "two\n"
    assert felloe("get", "clusters").code == 1
    assert felloe("config", "use-context", "one").code == 0
    assert felloe("get", "clusters", "-o", "name").code == 0
    listed = [line.split() for line in felloe("config", "get-contexts").out.splitlines()]
    assert listed == [["CURRENT", "NAME", "SERVER"], ["*", "one", hub.served.url], ["two", "https://127.0.0.1:1"]]
    done = felloe("config", "use-context", "three")
    assert (done.code, "one, two" in done.err) == (1, True)
    file = tmp_path / ".config" / "felloe" / "config.yaml"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("contexts: 3")
    assert "contexts" in felloe("get", "clusters").err


def test_names_are_completed_from_the_hub_and_nothing_breaks_without_it(
    hub: Threaded, felloe: Felloe, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"_FELLOE_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    assert felloe(**asked, COMP_WORDS="felloe get clusters p").out.split() == ["prod-1", "prod-2"]
    assert felloe(**asked, COMP_WORDS="felloe describe workload flux").out.split() == ["flux-system/apps"]
    assert felloe(**asked | {"COMP_CWORD": "2"}, COMP_WORDS="felloe get e").out.split() == ["environments"]
    monkeypatch.delenv("FELLOE_CREDENTIAL")
    assert felloe(**asked, COMP_WORDS="felloe get clusters p").out.strip() == ""
