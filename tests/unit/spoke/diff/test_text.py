"""A diff shows what a person needs, and never the value of a secret."""

from __future__ import annotations

from felloe.identity import ObjectId
from spoke.diff.text import LONGEST, cleaned, shortened, unified

CONFIG = ObjectId("", "ConfigMap", "shop", "settings")
SECRET = ObjectId("", "Secret", "shop", "login")


def config(**data: str) -> dict[str, object]:
    return {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


def secret(**data: str) -> dict[str, object]:
    return {"kind": "Secret", "metadata": {"name": "login"}, "data": data}


def test_what_the_server_keeps_is_left_out() -> None:
    live = config(a="1") | {
        "status": {"ready": True},
        "metadata": {
            "name": "settings",
            "uid": "u",
            "generation": 3,
            "managedFields": [{}],
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "labels": {"a": "b"},
        },
    }
    assert cleaned(live) == config(a="1") | {"metadata": {"name": "settings", "labels": {"a": "b"}}}


def test_names_and_lines_are_those_of_kubectl_diff() -> None:
    assert unified(CONFIG, "v1", config(a="1", b="2"), config(a="1", b="3")) == (
        "--- LIVE/v1.ConfigMap.shop.settings\n"
        "+++ MERGED/v1.ConfigMap.shop.settings\n"
        "@@ -1,6 +1,6 @@\n"
        " data:\n"
        '   a: "1"\n'
        '-  b: "2"\n'
        '+  b: "3"\n'
        " kind: ConfigMap\n"
        " metadata:\n"
        "   name: settings\n"
    )
    deployment = ObjectId("apps", "Deployment", "shop", "web")
    assert unified(deployment, "v1", None, {"a": 1}).startswith("--- LIVE/apps.v1.Deployment.shop.web\n")
    assert unified(CONFIG, "v1", config(a="1"), config(a="1")) == ""


def test_secrets_show_only_whether_they_differ() -> None:
    before = secret(same="YQ==", other="b2xk", gone="Z29uZQ==") | {"stringData": {"plain": "text"}}
    shown = unified(SECRET, "v1", before, secret(same="YQ==", other="bmV3", added="YWRk"))
    assert "-  other: '*** (before)'" in shown
    assert "+  other: '*** (after)'" in shown
    assert "-  gone: '***'" in shown
    assert "+  added: '***'" in shown
    assert "   same: '***'" in shown
    for value in ("YQ==", "b2xk", "Z29uZQ==", "bmV3", "YWRk", "text"):
        assert value not in shown
    assert "YQ==" not in unified(SECRET, "v1", None, secret(same="YQ=="))
    assert "YQ==" not in unified(SECRET, "v1", secret(same="YQ=="), None)


def test_a_long_diff_says_how_much_is_missing() -> None:
    diff = "".join(f"+ line {number}\n" for number in range(20_000))
    short = shortened(diff)
    kept = short.count("\n") - 1
    assert len(short) < LONGEST + 100
    assert short.endswith(f"@@ {20_000 - kept} more lines are left out @@\n")
    assert shortened("+ one\n") == "+ one\n"


def test_objects_of_too_many_lines_are_only_counted() -> None:
    before, after = (config(**{f"k{number}": value for number in range(20_001)}) for value in ("1", "2"))
    assert "20005 and 20005 lines are too many to compare" in unified(CONFIG, "v1", before, after)
