"""A commit travels through the hub to the clusters that it is for, and what a person does by hand is undone."""

from __future__ import annotations

import subprocess
from functools import partial

import kubernetes
import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.manifests import (
    ENVIRONMENTS,
    config_map,
    deployment,
    documents,
    kustomization,
    namespace,
    overlay,
    placement,
)
from tests.fleet.processes import FELLOE, condition, eventually

pytestmark = pytest.mark.cluster


def roots(fleet: Fleet) -> dict[str, str]:
    return {item["metadata"]["name"]: item["status"]["root"] for item in fleet.hub.get("clusters")}


def is_gone(fleet: Fleet, name: str, item: str) -> bool:
    return fleet.data(name, item) is None


def test_the_first_sync_reaches_every_cluster_with_its_own_overlay(fleet: Fleet) -> None:
    for name in ENVIRONMENTS:
        assert fleet.data(name, "settings") == {"greeting": "hello", "cluster": name, "environment": name}
        workload = fleet.hub.workload(name, "shop")
        assert condition(workload, "Ready")["status"] == "True"
        assert condition(workload, "Healthy")["status"] == "True"
    (dev,) = fleet.hub.get("clusters", "-l", "env=dev")
    assert dev["status"]["connected"] is True
    assert dev["status"]["revision"].startswith("main@sha1:")


def test_a_change_in_one_overlay_reaches_only_its_clusters(fleet: Fleet) -> None:
    before = roots(fleet)
    versions = {name: fleet.config_map(name, "settings").metadata.resource_version for name in ENVIRONMENTS}
    sha = fleet.deliver(
        {"environments/staging/settings.yaml": documents(config_map("settings", "shop", environment="stage two"))}
    )
    after = roots(fleet)
    assert fleet.data("staging", "settings") == {"greeting": "hello", "cluster": "staging", "environment": "stage two"}
    assert {name for name in ENVIRONMENTS if before[name] != after[name]} == {"staging"}
    for name in ("dev", "production"):
        assert fleet.config_map(name, "settings").metadata.resource_version == versions[name]
        # It has the commit all the same: nothing was needed for that.
        assert fleet.hub.workload(name, "shop")["status"]["lastAppliedRevision"] == f"main@sha1:{sha}"


def test_what_leaves_git_leaves_the_cluster_and_nothing_else_does(fleet: Fleet) -> None:
    extra = {"base/extra.yaml": documents(config_map("extra", a="1"))}
    resources = ["namespace.yaml", "settings.yaml", "web.yaml"]
    fleet.deliver(extra | {"base/kustomization.yaml": overlay(*resources, "extra.yaml", namespace="shop")})
    assert all(fleet.data(name, "extra") == {"a": "1"} for name in ENVIRONMENTS)
    fleet.core("dev").create_namespaced_config_map("shop", config_map("by-hand", b="2"))
    fleet.deliver({"base/extra.yaml": None, "base/kustomization.yaml": overlay(*resources, namespace="shop")})
    for name in ENVIRONMENTS:
        eventually(partial(is_gone, fleet, name, "extra"), f"extra is pruned in {name}")
    assert fleet.data("dev", "by-hand") == {"b": "2"}
    assert fleet.data("dev", "settings") is not None


def test_git_revert_restores(fleet: Fleet) -> None:
    before = {name: fleet.data(name, "settings") for name in ENVIRONMENTS}
    fleet.deliver({"base/settings.yaml": documents(config_map("settings", greeting="bye", cluster="x"))})
    assert fleet.data("dev", "settings") == {"greeting": "bye", "cluster": "x", "environment": "dev"}
    sha = fleet.revert()
    fleet.wait(sha)
    assert {name: fleet.data(name, "settings") for name in ENVIRONMENTS} == before


def test_a_person_s_edit_is_healed(fleet: Fleet) -> None:
    want = fleet.data("dev", "settings")
    fleet.core("dev").patch_namespaced_config_map("settings", "shop", {"data": {"greeting": "hacked"}})
    eventually(lambda: fleet.data("dev", "settings") == want, "the edit is undone")
    events = fleet.hub.felloe("events")
    eventually(lambda: "DriftHealed" in fleet.hub.felloe("events"), f"an event tells of it: {events}")


def test_a_deleted_object_comes_back(fleet: Fleet) -> None:
    want = fleet.data("dev", "settings")
    uid = fleet.config_map("dev", "settings").metadata.uid
    fleet.core("dev").delete_namespaced_config_map("settings", "shop")
    eventually(lambda: fleet.data("dev", "settings") == want, "it comes back")
    assert fleet.config_map("dev", "settings").metadata.uid != uid


def test_a_label_of_ours_that_is_removed_comes_back(fleet: Fleet) -> None:
    labels = fleet.config_map("dev", "settings").metadata.labels
    fleet.core("dev").patch_namespaced_config_map("settings", "shop", {"metadata": {"labels": dict.fromkeys(labels)}})
    eventually(lambda: fleet.config_map("dev", "settings").metadata.labels == labels, "the labels come back")


def test_a_field_that_is_not_ours_is_left_alone(fleet: Fleet) -> None:
    fleet.core("dev").patch_namespaced_config_map(
        "settings", "shop", {"metadata": {"annotations": {"example.com/note": "mine"}}}
    )
    fleet.core("dev").patch_namespaced_config_map("settings", "shop", {"data": {"greeting": "hacked"}})
    eventually(lambda: fleet.data("dev", "settings")["greeting"] == "hello", "the edit is undone")  # type: ignore[index]
    assert fleet.config_map("dev", "settings").metadata.annotations["example.com/note"] == "mine"


def test_health_tells_a_deployment_that_is_ready_from_one_that_cannot_be(fleet: Fleet) -> None:
    bad = deployment("bad")
    bad["spec"]["template"]["spec"]["nodeSelector"] = {"nowhere": "true"}  # type: ignore[index]
    sha = fleet.commit(
        {
            "broken/all.yaml": documents(
                namespace("broken"), bad | {"metadata": {"name": "bad", "namespace": "broken"}}
            ),
            "fleet/broken.yaml": documents(
                kustomization("broken", "./broken", wait=True, timeout="5s"),
                placement("broken", "broken", clusterNames=["dev"]),
            ),
        }
    )
    fleet.hub.felloe("wait", "-l", "env!=dev", "--for", "healthy", "--revision", sha, "--timeout", "60s", timeout=90)

    def failed() -> bool:
        workload = fleet.hub.workload("dev", "broken")
        return condition(workload, "Ready")["status"] == "False" and "bad" in condition(workload, "Ready")["message"]

    eventually(failed, "the workload says which object is not healthy")
    missing = fleet.hub.felloe("wait", "--for", "healthy", "--timeout", "2s", expect=1)
    assert "dev" in missing
    assert "broken" in missing
    described = fleet.hub.felloe("describe", "workload", "broken", "--cluster", "dev")
    assert "Deployment" in described
    # Removed on purpose, together with its Kustomization: one commit is one desired state.
    fleet.deliver({"broken/all.yaml": None, "fleet/broken.yaml": None}, to="healthy")
    apps = kubernetes.client.AppsV1Api(fleet.clusters["dev"].client())
    eventually(lambda: not apps.list_namespaced_deployment("broken").items, "the Deployment is pruned")


def test_a_workload_waits_for_what_it_depends_on(fleet: Fleet) -> None:
    slow = deployment("database")
    slow["spec"]["template"]["spec"]["nodeSelector"] = {"late": "true"}  # type: ignore[index]
    fleet.commit(
        {
            "database/all.yaml": documents(
                namespace("database"), slow | {"metadata": {"name": "database", "namespace": "database"}}
            ),
            "client/all.yaml": documents(namespace("client"), config_map("client", "client", a="1")),
            "fleet/pair.yaml": documents(
                kustomization("database", "./database", wait=True, timeout="2m"),
                kustomization("client", "./client", dependsOn=[{"name": "database"}]),
                placement("pair", "database", "client", clusterNames=["dev"]),
            ),
        }
    )
    eventually(
        lambda: condition(fleet.hub.workload("dev", "client"), "Ready")["reason"] == "DependencyNotReady",
        "the client says what it waits for",
    )
    assert fleet.data("dev", "client", "client") is None
    fleet.core("dev").patch_node(
        fleet.core("dev").list_node().items[0].metadata.name, {"metadata": {"labels": {"late": "true"}}}
    )
    eventually(lambda: fleet.data("dev", "client", "client") == {"a": "1"}, "the client follows")
    fleet.deliver({"database/all.yaml": None, "client/all.yaml": None, "fleet/pair.yaml": None})


def test_expressions_in_git_decide_what_is_healthy_and_what_goes_on(fleet: Fleet) -> None:
    checks = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "inProgress": "!('door' in metadata.?annotations.orValue({}))",
        "failed": "metadata.annotations['door'] == 'shut'",
        "current": "metadata.annotations['door'] == 'open'",
    }
    open_now = "dep.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')"
    files = {
        "gate/all.yaml": documents(namespace("gate"), config_map("gate", "gate", a="1")),
        "guest/all.yaml": documents(config_map("guest", "gate", a="1")),
        "fleet/gate.yaml": documents(
            kustomization("gate", "./gate", wait=True, timeout="2m", healthCheckExprs=[checks]),
            kustomization("guest", "./guest", dependsOn=[{"name": "gate", "readyExpr": open_now}]),
            placement("gate", "gate", "guest", clusterNames=["dev"]),
        ),
    }
    fleet.commit(files)

    def door(state: str) -> None:
        patch = {"metadata": {"annotations": {"door": state}}}
        fleet.core("dev").patch_namespaced_config_map("gate", "gate", patch, field_manager="porter")

    def said(name: str, text: str) -> bool:
        return text in condition(fleet.hub.workload("dev", name), "Ready")["message"]

    eventually(lambda: said("gate", "spec.healthCheckExprs[0].inProgress is true"), "the gate is in progress")
    eventually(lambda: said("guest", "spec.dependsOn[0].readyExpr is false"), "the guest waits")
    door("shut")
    eventually(lambda: said("gate", "spec.healthCheckExprs[0].failed is true"), "the gate has failed")
    assert fleet.data("dev", "guest", "gate") is None
    door("open")
    eventually(lambda: fleet.data("dev", "guest", "gate") == {"a": "1"}, "the guest follows")
    fleet.deliver(dict.fromkeys(files))


def test_two_tenants_share_a_cluster(fleet: Fleet) -> None:
    def tenant(name: str, value: str) -> dict[str, str]:
        return {
            f"tenants/{name}/all.yaml": documents(
                namespace(f"tenant-{name}"), config_map("app", f"tenant-{name}", v=value)
            ),
            f"fleet/tenant-{name}.yaml": documents(
                kustomization("app", f"./tenants/{name}", namespace=f"team-{name}"),
                placement(f"team-{name}", f"team-{name}/app", clusterNames=["dev"]),
            ),
        }

    fleet.deliver(tenant("red", "1") | tenant("blue", "2"))
    assert fleet.data("dev", "app", "tenant-red") == {"v": "1"}
    assert fleet.data("dev", "app", "tenant-blue") == {"v": "2"}
    # One of them leaves; the other one does not notice.
    uid = fleet.config_map("dev", "app", "tenant-blue").metadata.uid
    fleet.deliver({"tenants/red/all.yaml": None, "fleet/tenant-red.yaml": None})
    eventually(lambda: fleet.data("dev", "app", "tenant-red") is None, "what red had is pruned")
    assert fleet.config_map("dev", "app", "tenant-blue").metadata.uid == uid


def test_render_shows_what_a_cluster_gets_with_variables_filled_in(fleet: Fleet) -> None:
    rendered = fleet.hub.felloe("render", "--cluster", "production", "--workload", "shop")
    assert "cluster: production" in rendered
    assert "${" not in rendered


def test_suspend_freezes_and_resume_heals(fleet: Fleet) -> None:
    fleet.hub.felloe("suspend", "workload", "shop")
    eventually(lambda: suspended(fleet), "every spoke says that it is suspended")
    fleet.core("dev").patch_namespaced_config_map("settings", "shop", {"data": {"greeting": "frozen"}})
    fleet.commit({"base/settings.yaml": documents(config_map("settings", greeting="new", cluster="x"))})
    # Another workload takes the commit up, so that the spoke has seen all that there is to see.
    fleet.deliver(
        {
            "other/all.yaml": documents(config_map("other", "shop", a="1")),
            "fleet/other.yaml": documents(kustomization("other", "./other"), placement("other", "other")),
        }
    )
    assert fleet.data("dev", "settings")["greeting"] == "frozen"  # type: ignore[index]
    fleet.hub.felloe("resume", "workload", "shop")
    eventually(lambda: fleet.data("dev", "settings")["greeting"] == "new", "it goes on")  # type: ignore[index]
    fleet.revert()


def suspended(fleet: Fleet) -> bool:
    """Say whether every spoke holds the bundle in which the shop is suspended."""
    taken = all(item["status"]["root"] == item["status"]["desiredRoot"] for item in fleet.hub.get("clusters"))
    return taken and all(fleet.hub.workload(name, "shop")["spec"]["suspend"] for name in ENVIRONMENTS)


def test_the_command_line_prints_for_people_and_for_programs(fleet: Fleet) -> None:
    assert "dev" in fleet.hub.felloe("get", "clusters")
    assert fleet.hub.felloe("get", "clusters", "-o", "name").split()
    assert "greeting" in fleet.hub.felloe("render", "--cluster", "dev")
    for kind in ("sources", "environments", "placements", "workloads"):
        assert fleet.hub.get(kind)
    assert "nowhere" in fleet.hub.felloe("describe", "cluster", "nowhere", expect=1)
    version = subprocess.run([*FELLOE, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    assert version.strip()
