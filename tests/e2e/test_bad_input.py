"""Whatever is wrong in Git or in a command: the message says what and where, and the last good state stays applied."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.manifests import (
    Files,
    config_map,
    documents,
    git_repository,
    kustomization,
    namespace,
    overlay,
    placement,
)
from tests.fleet.processes import FELLOE, Hub, condition, eventually
from tests.servers.git_repo import git

pytestmark = pytest.mark.cluster

FLEET_MISTAKES: dict[str, tuple[Files, tuple[str, ...]]] = {
    "broken YAML": ({"fleet/bad.yaml": "a: [1\nb: {"}, ("fleet/bad.yaml", "line")),
    "a kind that does not belong there": (
        {"fleet/bad.yaml": documents(config_map("x", "y"))},
        ("fleet/bad.yaml", "ConfigMap y/x"),
    ),
    "a kind that nobody knows": (
        {"fleet/bad.yaml": "apiVersion: fleet.felloe.io/v1alpha1\nkind: Clutser\nmetadata: {name: x}\n"},
        ("fleet/bad.yaml", "Clutser", "Cluster"),
    ),
    "an unknown field": (
        {"fleet/bad.yaml": documents(kustomization("x", "./x", pruen=True))},
        ("fleet/bad.yaml", "Kustomization flux-system/x", "pruen", "prune"),
    ),
    "an unknown apiVersion": (
        {"fleet/bad.yaml": documents(kustomization("x", "./x") | {"apiVersion": "kustomize.toolkit.fluxcd.io/v9"})},
        ("fleet/bad.yaml", "v9"),
    ),
}

WORKLOAD_MISTAKES: dict[str, tuple[Files, tuple[str, ...]]] = {
    "a path that is not there": (
        {"fleet/bad.yaml": documents(kustomization("bad", "./nowhere"), placement("bad", "bad"))},
        ("nowhere", "spec.path", "fleet/bad.yaml"),
    ),
    "a kustomization that does not build": (
        {
            "bad/kustomization.yaml": overlay(patches=[{"target": {"kind": "X"}, "path": "gone.yaml"}]),
            "fleet/bad.yaml": documents(kustomization("bad", "./bad"), placement("bad", "bad")),
        },
        ("bad/kustomization.yaml", "gone.yaml"),
    ),
    "broken YAML in a manifest": (
        {
            "bad/bad.yaml": "kind: [",
            "fleet/bad.yaml": documents(kustomization("bad", "./bad"), placement("bad", "bad")),
        },
        ("bad/bad.yaml",),
    ),
    "a remote base": (
        {
            "bad/kustomization.yaml": overlay("https://github.com/example/base?ref=main"),
            "fleet/bad.yaml": documents(kustomization("bad", "./bad"), placement("bad", "bad")),
        },
        ("bad/kustomization.yaml", "github.com/example/base", "GitRepository"),
    ),
    "an object that another workload has": (
        {
            "bad/settings.yaml": documents(config_map("settings", "shop", greeting="mine")),
            "fleet/bad.yaml": documents(kustomization("bad", "./bad"), placement("bad", "bad")),
        },
        ("ConfigMap shop/settings", "Kustomization/flux-system/shop"),
    ),
    "a dependency on nothing": (
        {
            "bad/a.yaml": documents(config_map("a", "default")),
            "fleet/bad.yaml": documents(
                kustomization("bad", "./bad", dependsOn=[{"name": "nothing"}]), placement("bad", "bad")
            ),
        },
        ("nothing",),
    ),
    "dependencies in a circle": (
        {
            "bad/a.yaml": documents(config_map("a", "default")),
            "bad2/a.yaml": documents(config_map("a2", "default")),
            "fleet/bad.yaml": documents(
                kustomization("bad", "./bad", dependsOn=[{"name": "bad2"}]),
                kustomization("bad2", "./bad2", dependsOn=[{"name": "bad"}]),
                placement("bad", "bad", "bad2"),
            ),
        },
        ("circle", "bad2"),
    ),
    "a ref that is not there": (
        {
            "fleet/bad.yaml": documents(
                git_repository("other", "URL", branch="gone"),
                kustomization("bad", "./bad", "other"),
                placement("bad", "bad"),
            ),
        },
        ("gone",),
    ),
    "a variable without value": (
        {
            "bad/a.yaml": documents(config_map("a", "default", key="${no_such_variable}")),
            "fleet/bad.yaml": documents(kustomization("bad", "./bad"), placement("bad", "bad")),
        },
        ("no_such_variable", "ConfigMap default/a"),
    ),
    "a field that is not supported yet and changes what is applied": (
        {
            "bad/a.yaml": documents(config_map("a", "default")),
            "fleet/bad.yaml": documents(
                kustomization("bad", "./bad", postBuild={"substitute": {"a": "b"}}), placement("bad", "bad")
            ),
        },
        ("postBuild", "not supported yet"),
    ),
}


@pytest.fixture(autouse=True)
def restored(fleet: Fleet) -> Iterator[None]:
    """What a test that failed left behind is no other test's business."""
    start = fleet.repository.head
    yield
    if git("diff", "--stat", start, cwd=fleet.repository.work):
        fleet.wait(fleet.restore(start))


@pytest.mark.parametrize("mistake", FLEET_MISTAKES)
def test_a_fleet_that_does_not_load_changes_nothing_anywhere(fleet: Fleet, mistake: str) -> None:
    files, said = FLEET_MISTAKES[mistake]
    before = {name: fleet.data(name, "settings") for name in fleet.clusters}
    harmless = {"base/settings.yaml": documents(config_map("settings", greeting="must not arrive", cluster="x"))}
    fleet.repository.commit(files | harmless, mistake)
    answer = fleet.hub.felloe("reconcile", "source", "fleet", expect=1)
    for part in said:
        assert part in answer
    shown = json.dumps(fleet.hub.get("clusters"))
    for part in said:
        assert part in shown
    assert {name: fleet.data(name, "settings") for name in fleet.clusters} == before
    fleet.wait(fleet.revert())


@pytest.mark.parametrize("mistake", WORKLOAD_MISTAKES)
def test_a_workload_with_a_mistake_says_so_and_the_others_go_on(fleet: Fleet, mistake: str) -> None:
    files, said = WORKLOAD_MISTAKES[mistake]
    files = {path: text.replace('"URL"', json.dumps(fleet.url)) for path, text in files.items()}
    good = {"base/settings.yaml": documents(config_map("settings", greeting=mistake, cluster="${cluster_name}"))}
    fleet.commit(files | good, mistake)
    eventually(
        lambda: all(part in condition(fleet.hub.workload("dev", "bad"), "Ready")["message"] for part in said),
        f"the workload says {said}",
    )
    assert condition(fleet.hub.workload("dev", "bad"), "Ready")["status"] != "True"
    eventually(lambda: fleet.data("dev", "settings")["greeting"] == mistake, "the shop goes on")  # type: ignore[index]
    fleet.wait(fleet.revert())


def test_what_the_api_server_refuses_is_told_in_its_own_words_and_the_rest_is_applied(fleet: Fleet) -> None:
    bad = config_map("good-name", "default") | {"data": {"key": {"not": "text"}}}
    fleet.commit(
        {
            "bad/all.yaml": documents(bad, config_map("fine", "default", a="1")),
            "fleet/bad.yaml": documents(kustomization("bad", "./bad"), placement("bad", "bad", clusterNames=["dev"])),
        }
    )
    eventually(lambda: fleet.data("dev", "fine", "default") == {"a": "1"}, "the other object is applied")
    eventually(lambda: fleet.hub.workload("dev", "bad")["status"]["problems"], "the refused one is told")
    (problem,) = fleet.hub.workload("dev", "bad")["status"]["problems"]
    assert problem["object"] == "ConfigMap default/good-name"
    assert "expected string" in problem["message"]
    assert "expected string" in fleet.hub.felloe("describe", "workload", "bad", "--cluster", "dev")
    fleet.wait(fleet.revert())
    eventually(lambda: fleet.data("dev", "fine", "default") is None, "it is pruned")


def test_an_object_waits_for_its_definition(fleet: Fleet) -> None:
    widget = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": "default"},
        "spec": {"size": 1},
    }
    fleet.commit(
        {
            "widget/w.yaml": documents(widget, config_map("beside", "default", a="1")),
            "fleet/widget.yaml": documents(
                kustomization("widget", "./widget"), placement("widget", "widget", clusterNames=["dev"])
            ),
        }
    )
    eventually(lambda: fleet.data("dev", "beside", "default") == {"a": "1"}, "what can be applied is")
    eventually(
        lambda: "Widget" in json.dumps(fleet.hub.workload("dev", "widget")["status"]["problems"]), "it says what lacks"
    )
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    sha = fleet.commit(
        {
            "definitions/widgets.yaml": documents(definition),
            "fleet/definitions.yaml": documents(
                kustomization("definitions", "./definitions"),
                placement("definitions", "definitions", clusterNames=["dev"]),
            ),
        }
    )
    fleet.wait(sha)
    fleet.deliver(dict.fromkeys(["widget/w.yaml", "fleet/widget.yaml"]))
    fleet.deliver(dict.fromkeys(["definitions/widgets.yaml", "fleet/definitions.yaml"]))


def test_a_config_map_of_nearly_a_mebibyte_arrives_and_a_larger_one_is_refused(fleet: Fleet) -> None:
    placed = documents(kustomization("large", "./large"), placement("large", "large", clusterNames=["dev"]))
    text = "x" * 1_000_000
    fleet.deliver({"large/a.yaml": documents(config_map("large", "default", text=text)), "fleet/large.yaml": placed})
    assert fleet.data("dev", "large", "default") == {"text": text}
    fleet.commit({"large/a.yaml": documents(config_map("large", "default", text="y" * 1_100_000))})
    eventually(
        lambda: "1048576 bytes" in json.dumps(fleet.hub.workload("dev", "large")),
        "the API server's own message is shown",
    )
    assert fleet.data("dev", "large", "default") == {"text": text}
    fleet.deliver(dict.fromkeys(["large/a.yaml", "fleet/large.yaml"]))


def test_nothing_is_pruned_because_something_vanished(fleet: Fleet) -> None:
    before = {name: fleet.data(name, "settings") for name in fleet.clusters}
    uids = {name: fleet.config_map(name, "settings").metadata.uid for name in fleet.clusters}

    def unharmed() -> bool:
        now = {name: fleet.config_map(name, "settings") for name in fleet.clusters}
        return all(item and item.metadata.uid == uids[name] and item.data == before[name] for name, item in now.items())

    # The whole fleet folder goes.
    shutil.rmtree(fleet.repository.work / "fleet")
    fleet.repository.commit({}, "the fleet folder is gone")
    fleet.hub.felloe("reconcile", "source", "fleet")
    eventually(lambda: "FleetEmpty" in json.dumps(fleet.hub.get("clusters") + fleet.hub.get("workloads")), "it is told")
    assert unharmed()
    fleet.wait(fleet.revert())
    # An overlay's folder goes.
    shutil.rmtree(fleet.repository.work / "environments" / "dev")
    fleet.repository.commit({}, "an overlay is gone")
    fleet.hub.felloe("reconcile", "source", "fleet")
    eventually(
        lambda: "environments/dev" in condition(fleet.hub.workload("dev", "shop"), "Ready")["message"], "it is told"
    )
    assert unharmed()
    fleet.wait(fleet.revert())
    # The repository itself goes, and the hub restarts without it.
    away = fleet.repository.path.with_name("away.git")
    fleet.repository.path.rename(away)
    try:
        fleet.hub.felloe("reconcile", "source", "fleet", expect=1)
        fleet.hub.kill()
        fleet.hub.start()
        eventually(lambda: all(one["status"]["connected"] for one in fleet.hub.get("clusters")), "all come back")
        assert unharmed()
    finally:
        away.rename(fleet.repository.path)
    fleet.hub.felloe("reconcile", "source", "fleet")
    fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "60s", timeout=90)
    assert unharmed()


def test_removing_the_last_object_on_purpose_prunes_it(fleet: Fleet) -> None:
    placed = documents(kustomization("last", "./last"), placement("last", "last", clusterNames=["dev"]))
    fleet.deliver(
        {
            "last/kustomization.yaml": overlay("a.yaml"),
            "last/a.yaml": documents(config_map("last", "default", a="1")),
            "fleet/last.yaml": placed,
        }
    )
    assert fleet.data("dev", "last", "default") == {"a": "1"}
    fleet.deliver({"last/kustomization.yaml": overlay(), "last/a.yaml": None})
    eventually(lambda: fleet.data("dev", "last", "default") is None, "it is pruned")


def test_a_token_is_good_once_and_for_its_own_hub(fleet: Fleet, tmp_path: Path) -> None:
    token = fleet.hub.token("visitor")
    # One that may not read what the cluster keeps of its own spoke: with that it would need no token.
    kubeconfig = fleet.clusters["dev"].kubeconfig_for("stranger")

    def refused(hub: str, token: str) -> str:
        """Return what a spoke says that can't join; it must not try for ever, nor show a traceback."""
        (tmp_path / "token").write_text(token)
        done = subprocess.run(
            [
                *FELLOE,
                "spoke",
                "run",
                f"--hub={hub}",
                f"--token-file={tmp_path / 'token'}",
                f"--state={tmp_path / 'state'}",
                f"--kubeconfig={kubeconfig}",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert token not in done.stderr
        return done.stderr

    assert "token" in refused(fleet.hub.address, "felloe1.bm9uc2Vuc2U")
    used = next(path for path in (fleet.folder / "spokes" / "dev").iterdir() if path.name == "token").read_text()
    assert "used already" in refused(fleet.hub.address, used)
    with other_hub(fleet) as other:
        assert "another" in refused(other.address, token)


@contextmanager
def other_hub(fleet: Fleet) -> Iterator[Hub]:
    hub = Hub(fleet.keeper, fleet.folder / "other-hub", f"{fleet.url}@main", options=fleet.hub.options).start()
    try:
        yield hub
    finally:
        hub.stop()


def test_a_namespace_that_is_not_ours_survives(fleet: Fleet) -> None:
    fleet.core("dev").create_namespace(namespace("theirs"))
    fleet.deliver(
        {
            "theirs/all.yaml": documents(config_map("ours", "theirs", a="1")),
            "fleet/theirs.yaml": documents(
                kustomization("theirs", "./theirs"), placement("theirs", "theirs", clusterNames=["dev"])
            ),
        }
    )
    fleet.deliver(dict.fromkeys(["theirs/all.yaml", "fleet/theirs.yaml"]))
    eventually(lambda: fleet.data("dev", "ours", "theirs") is None, "ours is pruned")
    assert fleet.core("dev").read_namespace("theirs").status.phase == "Active"
