"""The fleet folder: read whole or refused whole, every mistake with file, object and field."""

from __future__ import annotations

import pytest

from felloe.bundle import Dependency, HealthCheck, HealthCheckExpr
from felloe.errors import ConfigError
from felloe.identity import WorkloadId
from hub.fleet import Fleet, FleetError, load_fleet
from hub.fleet.model import IgnoreRule, Target
from tests.unit.hub.targeting.world import MemoryTree

KUSTOMIZATION = """
apiVersion: kustomize.toolkit.fluxcd.io/{version}
kind: Kustomization
metadata: {{name: apps, namespace: flux-system}}
spec: {{interval: 10m0s, prune: true, sourceRef: {{kind: GitRepository, name: fleet}}, {spec}}}
"""
REPOSITORY = """
apiVersion: source.toolkit.fluxcd.io/{version}
kind: GitRepository
metadata: {{name: fleet, namespace: flux-system}}
spec: {{interval: 1m, url: "https://git.example/org/fleet", {spec}}}
"""
OWN = """
apiVersion: fleet.felloe.io/v1alpha1
kind: {kind}
metadata: {{name: {name}}}
spec: {spec}
"""
APPS = WorkloadId("Kustomization", "flux-system", "apps")


def load(*texts: str, folder: str = "fleet") -> Fleet:
    return load_fleet(MemoryTree({f"fleet/{index}.yaml": text for index, text in enumerate(texts)}), folder)


def mistakes(*texts: str) -> list[str]:
    with pytest.raises(FleetError) as caught:
        load(*texts)
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize("folder", ["fleet", "./fleet/", "/fleet", "."])
def test_every_yaml_file_below_the_folder_is_read(folder: str) -> None:
    files = {
        "fleet/a.yaml": KUSTOMIZATION.format(version="v1", spec=""),
        "fleet/deep/er/b.yml": REPOSITORY.format(version="v1", spec=""),
        "fleet/README.md": "# no YAML",
    }
    fleet = load_fleet(MemoryTree(files), folder)
    assert set(fleet.kustomizations) == {APPS}
    assert set(fleet.repositories) == {("flux-system", "fleet")}


def test_an_absent_folder_is_an_empty_fleet() -> None:
    assert load_fleet(MemoryTree({"apps/x.yaml": "a: b"}), "fleet").empty


def test_a_kustomization_has_fluxs_defaults() -> None:
    found = load(KUSTOMIZATION.format(version="v1", spec="")).kustomizations[APPS]
    assert (found.path, found.interval, found.retry_interval, found.timeout) == ("./", 600, 600, 570)
    assert (found.wait, found.suspend, found.target_namespace, found.unsupported) == (False, False, "", ())
    assert str(found.source) == "GitRepository/flux-system/fleet"


def test_every_supported_field_of_a_kustomization_is_read() -> None:
    spec = (
        "path: apps, timeout: 1m30s, retryInterval: 500ms, targetNamespace: shop, suspend: true, wait: true, "
        "dependsOn: [{name: a}, {name: b, namespace: other, readyExpr: dep.status.ok}], force: true, "
        "deletionPolicy: Orphan, serviceAccountName: deployer, "
        "healthCheckExprs: [{apiVersion: a/v1, kind: B, current: c, failed: f, inProgress: p}], "
        "ignore: [{paths: [/spec/replicas], target: {kind: Deployment, name: web}}], "
        "healthChecks: [{apiVersion: apps/v1, kind: Deployment, name: web, namespace: shop}]"
    )
    found = load(KUSTOMIZATION.format(version="v1", spec=spec)).kustomizations[APPS]
    assert (found.timeout, found.retry_interval, found.target_namespace) == (90, 0.5, "shop")
    assert (found.suspend, found.wait) == (True, True)
    assert found.depends_on == (
        Dependency(WorkloadId("Kustomization", "flux-system", "a")),
        Dependency(WorkloadId("Kustomization", "other", "b"), "dep.status.ok"),
    )
    assert (found.force, found.deletion_policy, found.service_account) == (True, "Orphan", "deployer")
    assert found.health_check_exprs == (HealthCheckExpr("a/v1", "B", "c", "f", "p"),)
    assert found.ignore == (IgnoreRule(("/spec/replicas",), Target(kind="Deployment", name="web")),)
    assert found.health_checks == (HealthCheck("apps/v1", "Deployment", "shop", "web"),)


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_every_version_that_flux_served_is_read(version: str) -> None:
    fleet = load(KUSTOMIZATION.format(version=version, spec=""), REPOSITORY.format(version=version, spec=""))
    assert len(fleet.kustomizations) == len(fleet.repositories) == 1


@pytest.mark.parametrize(
    ("version", "spec", "field", "holds"),
    [
        ("v1", "postBuild: {substitute: {a: b}}", "spec.postBuild", True),
        ("v1", "decryption: {provider: sops}", "spec.decryption", True),
        ("v1", "patches: [{patch: x}]", "spec.patches", True),
        ("v1", "components: [../c]", "spec.components", True),
        ("v1", "images: [{name: a, newTag: b}]", "spec.images", True),
        ("v1", "namePrefix: a-", "spec.namePrefix", True),
        ("v1", "commonMetadata: {labels: {a: b}}", "spec.commonMetadata", True),
        ("v1", "kubeConfig: {secretRef: {name: a}}", "spec.kubeConfig", True),
        ("v1beta2", "patchesStrategicMerge: [{a: b}]", "spec.patchesStrategicMerge", True),
        ("v1beta1", "validation: client", "spec.validation", False),
    ],
)
def test_a_known_field_that_is_not_supported_yet_is_noted(version: str, spec: str, field: str, holds: bool) -> None:
    (noted,) = load(KUSTOMIZATION.format(version=version, spec=spec)).kustomizations[APPS].unsupported
    assert (noted.field, noted.holds) == (field, holds)


@pytest.mark.parametrize("path", ["spec/replicas", "''", "/metadata"])
def test_what_names_no_field_can_not_be_ignored(path: str) -> None:
    spec = f"ignore: [{{paths: [{path}], target: {{kind: Deployment}}}}]"
    (problem,) = mistakes(KUSTOMIZATION.format(version="v1", spec=spec))
    assert "spec.ignore[0].paths[0]: " in problem


def annotated(name: str, value: str) -> str:
    annotations = f"metadata: {{annotations: {{fleet.felloe.io/{name}: {value!r}}}, "
    return KUSTOMIZATION.format(version="v1", spec="").replace("metadata: {", annotations)


def test_labels_are_kept_for_expressions() -> None:
    manifest = KUSTOMIZATION.format(version="v1", spec="").replace("metadata: {", "metadata: {labels: {b: c, a: d}, ")
    assert load(manifest).kustomizations[APPS].labels == (("a", "d"), ("b", "c"))


def test_what_flux_has_no_field_for_is_said_by_annotations() -> None:
    assert load(annotated("drift", "warn")).kustomizations[APPS].drift == "warn"
    assert load(annotated("prune-limit", "80%")).kustomizations[APPS].prune_limit == 0.8
    assert load(annotated("prune", "force")).kustomizations[APPS].force_prune
    plain = load(KUSTOMIZATION.format(version="v1", spec="")).kustomizations[APPS]
    assert (plain.drift, plain.prune_limit) == ("enabled", 0.5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("drift", "off", "must be one of enabled, warn, disabled, not 'off'"),
        ("prune", "never", "must be 'force'"),
        ("prune-limit", "0.5", "must be a share from 0% to 100%"),
        ("prune-limit", "101%", "must be a share from 0% to 100%"),
    ],
)
def test_an_annotation_that_says_nothing_known_is_an_error(name: str, value: str, message: str) -> None:
    (mistake,) = mistakes(annotated(name, value))
    assert f"metadata.annotations[fleet.felloe.io/{name}]: {message}" in mistake


@pytest.mark.parametrize(
    "spec", ["force: false", "postBuild: {}", "patches: []", "deletionPolicy: MirrorPrune", "wait: null"]
)
def test_a_field_that_says_nothing_new_needs_no_support(spec: str) -> None:
    assert load(KUSTOMIZATION.format(version="v1", spec=spec)).kustomizations[APPS].unsupported == ()


def kustomization(spec: str, version: str = "v1") -> str:
    return KUSTOMIZATION.format(version=version, spec=spec)


def repository(spec: str) -> str:
    return REPOSITORY.format(version="v1", spec=spec)


def own(kind: str, spec: str, name: str = "x") -> str:
    return OWN.format(kind=kind, name=name, spec=spec)


def environment(expression: str) -> str:
    return own("Environment", f"{{clusterSelector: {{matchExpressions: [{expression}]}}}}")


NO_PRUNE = kustomization("").replace("prune: true", "wait: true")
OTHER_KIND = kustomization("").replace("kind: Kustomization", "kind: Kustomisation")
SCP_URL = repository("").replace("https://git.example/org/fleet", "git@git.example:org/fleet")
NO_SUCH_WORKLOAD = "{clusterNames: [a], workloads: [{kind: Kustomization, name: x}]}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (kustomization("pth: x"), "Kustomization flux-system/apps: spec.pth: unknown field; did you mean path?"),
        (
            kustomization("dependsOn: [{name: two, nam: two}]"),
            "spec.dependsOn[0].nam: unknown field; did you mean name?",
        ),
        (kustomization("wait: true", "v1beta1"), "spec.wait: unknown field"),
        (kustomization("wait: 'yes'"), "spec.wait: must be true or false, not the text 'yes'"),
        (kustomization("path: 3"), "spec.path: must be a text, not the number 3"),
        (kustomization("timeout: 10"), "spec.timeout: must be a duration such as 10m, not the number 10"),
        (kustomization("timeout: 10 minutes"), "spec.timeout: '10 minutes' is no duration; write it as"),
        (kustomization("dependsOn: x"), "spec.dependsOn: must be a list, not the text 'x'"),
        (kustomization("", "v3"), "apiVersion: Kustomization has no version v3; known are v1, v1beta2, v1beta1"),
        (NO_PRUNE, "spec.prune: is required and missing"),
        (OTHER_KIND, "no kind Kustomisation; did you mean Kustomization?"),
        (SCP_URL, "write ssh://git@git.example/org/fleet"),
        (repository("ref: {commit: abc}"), "ref.commit 'abc' is no full commit id"),
        (repository("ref: {branches: abc}"), "spec.ref.branches: unknown field; did you mean branch?"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}", "Pod x: apiVersion: v1 Pod does not belong in the fleet"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: no}", "not the boolean false; put it in quotes"),
        ("apiVersion: fleet.felloe.io/v1alpha1\nkind: Clutser\nmetadata: {name: x}", "did you mean Cluster?"),
        ("a: [", "is not valid YAML"),
        ("- a", "line 1: is no Kubernetes object"),
        ("kind: X\nmetadata: {name: a}", "apiVersion: is required and missing"),
        ("apiVersion: v1\nkind: X\nmetadata: {}", "X: metadata.name: is required and missing"),
        (own("Placement", "{workloads: []}"), "(clusterSelector: {} selects every cluster)"),
        (own("Placement", "{workloads: [], clusterNames: []}"), "spec.clusterNames: is an empty list"),
        (own("Placement", NO_SUCH_WORKLOAD), "spec.workloads[0]: there is no Kustomization/default/x"),
        (own("Placement", "{environments: [prd], workloads: []}"), "spec.environments[0]: there is no Environment prd"),
        (environment("{key: a, operator: In}"), "matchExpressions[0].values: operator In needs at least one value"),
        (environment("{key: a, operator: Is}"), "matchExpressions[0].operator: must be one of In, NotIn"),
        (own("Cluster", "{variables: {a-b: x}}"), "spec.variables.a-b: is no name of a variable"),
        (own("Cluster", "{variables: {a: 3}}"), "spec.variables.a: must be a text, not the number 3; put it in quotes"),
        (own("Cluster", "{}", name="Upper"), "metadata.name: 'Upper' is no valid name"),
    ],
)
def test_a_mistake_names_file_object_and_field(text: str, says: str) -> None:
    (message,) = mistakes(text)
    assert message.startswith("fleet/0.yaml: ")
    assert says in message


def test_all_mistakes_are_told_at_once() -> None:
    bad = KUSTOMIZATION.format(version="v1", spec="pth: x, wait: 1")
    found = mistakes(bad, "a: [", OWN.format(kind="Cluster", name="c", spec="{pausd: true}"))
    assert len(found) == 4
    assert {message.split(":")[0] for message in found} == {"fleet/0.yaml", "fleet/1.yaml", "fleet/2.yaml"}
    with pytest.raises(ConfigError, match="4 mistakes"):
        load(bad, "a: [", OWN.format(kind="Cluster", name="c", spec="{pausd: true}"))


def test_one_object_in_two_files_is_a_mistake() -> None:
    text = KUSTOMIZATION.format(version="v1", spec="")
    (message,) = mistakes(text, text.replace("/v1", "/v1beta2"))
    assert message == "fleet/1.yaml: Kustomization flux-system/apps: is there twice; the other one is in fleet/0.yaml"


@pytest.mark.parametrize(
    ("spec", "field", "holds"),
    [
        ("verify: {mode: HEAD, secretRef: {name: keys}}", "spec.verify", True),
        ("include: [{repository: {name: x}}]", "spec.include", True),
        ("recurseSubmodules: true", "spec.recurseSubmodules", True),
        ("proxySecretRef: {name: x}", "spec.proxySecretRef", True),
        ("provider: github", "spec.provider", False),
        ("sparseCheckout: [a]", "spec.sparseCheckout", False),
    ],
)
def test_a_source_that_says_more_than_is_supported_notes_it(spec: str, field: str, holds: bool) -> None:
    (noted,) = load(REPOSITORY.format(version="v1", spec=spec)).repositories["flux-system", "fleet"].unsupported
    assert (noted.field, noted.holds) == (field, holds)


def test_every_supported_field_of_a_git_repository_is_read() -> None:
    spec = "ref: {tag: v1}, secretRef: {name: key}, timeout: 20s, ignore: '*.md', suspend: true"
    found = load(REPOSITORY.format(version="v1", spec=spec)).repositories["flux-system", "fleet"].spec
    assert (found.ref.tag, found.secret, found.timeout, found.interval) == ("v1", "key", 20, 60)
    assert (found.ignore, found.suspend) == ("*.md", True)


def test_kinds_that_are_not_supported_yet_are_known() -> None:
    fleet = load(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: x, namespace: shop}\nspec: {a: b}",
        OWN.format(kind="Tenant", name="shop", spec="{}"),
    )
    assert [str(each) for each in fleet.unsupported] == ["HelmRelease shop/x", "Tenant shop"]
    assert not fleet.empty
