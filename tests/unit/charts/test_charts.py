"""Both charts lint, start what the images hold, grant what is asked for, and refuse values that would be ignored."""

from __future__ import annotations

import json
import re
from pathlib import Path

import helm_python as helm
import pytest
from typer.main import get_command

from felloe.cli import Side, build_app
from hub.cli import register
from hub.config import Address, HubConfig, load_config
from spoke.__main__ import Settings
from spoke.__main__ import _parse as parse
from tests.charts import CHARTS, VALUES, of_kind, pod, render

RULES = [
    {
        "apiGroups": ["apps"],
        "resources": ["deployments"],
        "verbs": ["get", "list", "watch", "create", "patch", "delete"],
    }
]


def container_arguments(chart: str, values: dict[str, object] | None = None) -> list[str]:
    (container,) = pod(render(chart, values))["containers"]
    arguments: list[str] = container["args"]
    assert "command" not in container
    return arguments


def hub_config(arguments: list[str]) -> HubConfig:
    """What `felloe` makes of the hub's arguments; an unknown one is an error."""
    command = get_command(build_app([Side("hub", lambda: register)]))
    for name in arguments[:2]:
        command = command.commands[name]  # type: ignore[attr-defined]  # a group's
    given = command.make_context("serve", arguments[2:]).params
    assert not given.pop("config")
    return load_config({name.replace("_", "-"): value for name, value in given.items()}, None)


@pytest.mark.parametrize("chart", VALUES)
def test_lints_without_a_warning(chart: str) -> None:
    report = helm.lint(CHARTS / chart, VALUES[chart], strict=True)
    assert not report["errors"]
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("chart", VALUES)
def test_meets_the_restricted_pod_security_standard(chart: str) -> None:
    spec = pod(render(chart))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_spoke_s_arguments_are_what_its_process_takes() -> None:
    assert parse(container_arguments("spoke")) == Settings(
        "hub.example.com:8443", Path("/state"), None, "", Path("/token/token"), "", "info"
    )


def test_what_an_earlier_hub_left_is_deleted_only_where_that_is_said() -> None:
    assert not parse(container_arguments("spoke")).prune_former_hub
    assert parse(container_arguments("spoke", {"pruneFormerHub": True})).prune_former_hub


def test_a_spoke_needs_no_volume_and_no_two_run_at_once() -> None:
    objects = render("spoke")
    assert of_kind(objects, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    (state,) = (volume for volume in pod(objects)["volumes"] if volume["name"] == "state")
    assert state["emptyDir"] == {"sizeLimit": "1Gi"}


def test_the_hub_s_arguments_are_what_its_command_takes(tmp_path: Path) -> None:
    arguments = container_arguments("hub")
    assert "--secrets=/secrets" in arguments
    here = [argument.replace("=/secrets", f"={tmp_path}") for argument in arguments]
    assert hub_config(here) == HubConfig(
        data=Path("/data"),
        fleet="https://git.example.com/fleet.git@main",
        grpc=Address("0.0.0.0", 8443),  # noqa: S104 - not bound to
        http=Address("0.0.0.0", 8080),  # noqa: S104 - not bound to
        fleet_path="fleet/",
        sync_path="clusters/${cluster_name}",
        secrets=tmp_path,
        instead_of=(("https://a/", "https://b/"),),
        advertise=("hub.example.com", "felloe-hub.felloe-system.svc"),
    )


def test_a_hub_without_secrets_is_given_no_folder_that_is_not_there() -> None:
    values: dict[str, object] = {"sourceSecrets": [], "advertise": []}
    config = hub_config(container_arguments("hub", values))
    assert config.secrets is None
    assert str(config.reachable(config.grpc)) == "felloe-hub.felloe-system.svc:8443"


def test_a_hub_from_a_backup_starts_with_the_epoch_that_its_refusals_name() -> None:
    assert not any("--epoch" in argument for argument in container_arguments("hub"))
    values: dict[str, object] = {"sourceSecrets": [], "epoch": 1_234_567}
    assert hub_config(container_arguments("hub", values)).epoch == 1_234_567


@pytest.mark.parametrize(("chart", "runs"), [("hub", ["felloe"]), ("spoke", ["python", "-m", "spoke"])])
def test_the_image_starts_what_the_arguments_are_for(chart: str, runs: list[str]) -> None:
    containerfile = (CHARTS.parent / "Containerfile").read_text()
    (stage,) = (stage for stage in re.split(r"^FROM ", containerfile, flags=re.MULTILINE) if f" AS {chart}\n" in stage)
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", stage, re.MULTILINE)
    program, *arguments = json.loads(entrypoint)
    assert [Path(program).name, *arguments] == runs
    (user,) = re.findall(r"^USER (.*)$", stage, re.MULTILINE)
    context = pod(render(chart))["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_every_secret_of_a_source_is_where_the_hub_looks_for_it() -> None:
    names = ["a" * 60 + "-one", "a" * 60 + "-two"]
    secrets = [{"namespace": "flux-system", "name": name, "secretName": name} for name in names]
    spec = pod(render("hub", {"sourceSecrets": secrets}))
    volumes = {each["name"]: each["secret"]["secretName"] for each in spec["volumes"] if "secret" in each}
    mounts = {each["mountPath"]: each["name"] for each in spec["containers"][0]["volumeMounts"]}
    assert {volumes[mounts[f"/secrets/flux-system/{name}"]] for name in names} == set(names)


def test_the_hub_has_no_rights_in_its_own_cluster() -> None:
    objects = render("hub")
    assert not [item for item in objects if "Role" in str(item["kind"])]
    assert pod(objects)["automountServiceAccountToken"] is False


def test_a_restricted_spoke_gets_its_rules_and_no_more() -> None:
    objects = render("spoke", {"rbac": {"clusterAdmin": False, "rules": RULES}})
    role = of_kind(objects, "ClusterRole")
    granted = role["rules"]
    assert RULES[0] in granted
    assert all(set(rule["verbs"]) <= {"get", "list", "watch"} for rule in granted if rule not in RULES)
    assert of_kind(objects, "ClusterRoleBinding")["roleRef"]["name"] == role["metadata"]["name"]
    role = of_kind(objects, "Role")
    assert role["metadata"]["namespace"] == "felloe-system"
    assert {kind for rule in role["rules"] for kind in rule["resources"]} == {"configmaps", "secrets", "leases"}


def test_a_restricted_spoke_takes_over_from_flux_only_where_that_is_said() -> None:
    def verbs(**rbac: object) -> list[str]:
        objects = render("spoke", {"rbac": {"clusterAdmin": False, "rules": RULES, **rbac}})
        (rule,) = (each for each in of_kind(objects, "ClusterRole")["rules"] if "kustomizations" in each["resources"])
        found: list[str] = rule["verbs"]
        return found

    assert verbs() == ["get", "list", "watch"]
    assert verbs(adoptFlux=True) == ["get", "list", "watch", "patch"]


def test_a_restricted_spoke_impersonates_the_accounts_of_the_namespaces_that_are_named_and_nobody_else() -> None:
    def impersonating(*namespaces: str) -> list[tuple[str, str]]:
        rbac = {"clusterAdmin": False, "rules": RULES, "impersonate": list(namespaces)}
        objects = render("spoke", {"rbac": rbac})
        helm.Chart.load(CHARTS / "spoke").validate_schema(VALUES["spoke"] | {"rbac": rbac})
        found = []
        for item in objects:
            for rule in item.get("rules", ()):
                if "impersonate" in rule["verbs"]:
                    assert (rule["apiGroups"], rule["resources"]) == ([""], ["serviceaccounts"])
                    found.append((item["kind"], item["metadata"].get("namespace", "")))
        return found

    assert impersonating() == []
    assert impersonating("one", "two") == [("Role", "one"), ("Role", "two")]
    assert impersonating("*") == [("ClusterRole", "")]


def test_a_default_service_account_is_told_to_the_spoke() -> None:
    assert parse(container_arguments("spoke", {"defaultServiceAccount": "tenant"})).service_account == "tenant"


def test_the_spoke_s_namespace_is_made_only_where_the_release_has_another_one() -> None:
    values: dict[str, object] = {"rbac": {"clusterAdmin": False, "rules": RULES}}
    assert of_kind(render("spoke", values, namespace="agents"), "Namespace")["metadata"]["name"] == "felloe-system"
    assert not [item for item in render("spoke", values) if item["kind"] == "Namespace"]


def test_the_join_token_is_a_file_and_no_argument() -> None:
    objects = render("spoke")
    assert "felloe1.abc" not in str(pod(objects))
    assert of_kind(objects, "Secret")["stringData"] == {"token": "felloe1.abc"}


def test_a_join_token_may_come_from_the_file_that_the_command_wrote() -> None:
    values = VALUES["spoke"] | {"token": "felloe1.abc\n"}
    helm.Chart.load(CHARTS / "spoke").validate_schema(values)
    assert of_kind(render("spoke", values), "Secret")["stringData"] == {"token": "felloe1.abc"}
    with pytest.raises(helm.HelmError, match="token"):
        helm.Chart.load(CHARTS / "spoke").validate_schema(VALUES["spoke"] | {"token": "something else"})


def test_a_spoke_with_a_secret_of_its_own_gets_none() -> None:
    objects = render("spoke", {"token": "", "tokenSecret": "mine"})
    assert not [item for item in objects if item["kind"] == "Secret"]
    (token,) = (each for each in pod(objects)["volumes"] if each["name"] == "token")
    assert token["secret"]["secretName"] == "mine"


@pytest.mark.parametrize("chart", VALUES)
def test_an_unknown_value_is_refused(chart: str) -> None:
    with pytest.raises(helm.HelmError, match="replicaCount"):
        helm.Chart.load(CHARTS / chart).validate_schema(VALUES[chart] | {"replicaCount": 3})
