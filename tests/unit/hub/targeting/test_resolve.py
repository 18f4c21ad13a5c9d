"""What a cluster gets: by its sync path, by Placements, and what stays when something is wrong."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felloe.bundle import Dependency
from felloe.k8syaml import load_all
from hub.sources.spec import GitRef, GitSpec
from hub.targeting import ClusterPlan, plan_from_json, plan_to_json
from tests.unit.hub.targeting.world import (
    FLEET_URL,
    ROOT,
    World,
    condition,
    config_map,
    kustomization,
    map_id,
    objects,
    repository,
    why,
    workload,
)


def monorepo() -> World:
    """A Flux repository: a cluster's folder with its bootstrap, and two applications."""
    return World(
        {
            "clusters/dev/flux-system/gotk-sync.yaml": repository() + kustomization("flux-system", "./clusters/dev"),
            "clusters/dev/apps.yaml": kustomization("one") + kustomization("two", spec="dependsOn: [{name: one}]"),
            "apps/one/map.yaml": config_map("one", "{text: hello}"),
            "apps/two/map.yaml": config_map("two"),
        }
    )


def unchanged(plan: ClusterPlan, before: ClusterPlan, *names: str) -> bool:
    return all(plan.bundle.by_id[workload(name)] == before.bundle.by_id[workload(name)] for name in names)


class TestSyncPath:
    def test_a_flux_repository_works_as_it_is(self) -> None:
        world = monorepo()
        plan = world.plan()
        assert objects(plan, "one") == ["one"]
        assert objects(plan, "two") == ["two"]
        assert plan.by_id[workload("one")].parent == ROOT
        assert plan.bundle.by_id[workload("two")].options.depends_on == (Dependency(workload("one")),)
        assert plan.bundle.by_id[ROOT].options.interval == 600
        assert [each.conditions for each in plan.workloads] == [(), (), ()]
        assert world.asked == [], "the fleet's own repository is not fetched a second time"

    def test_the_bootstrap_s_repository_is_the_fleet_s_own_whatever_that_is_called(self) -> None:
        world = monorepo()
        named = GitSpec("felloe-system", "fleet", FLEET_URL, GitRef(branch="main"))
        plan = world.plan(fleet_source=named)
        assert objects(plan, "one") == ["one"]
        assert world.asked == []

    def test_the_bootstrap_says_how_the_root_is_applied(self) -> None:
        world = monorepo()
        world.files["clusters/dev/flux-system/gotk-sync.yaml"] = repository() + kustomization(
            "flux-system", "./clusters/dev", "wait: true, timeout: 2m"
        )
        options = world.plan().bundle.by_id[ROOT].options
        assert (options.wait, options.timeout) == (True, 120)

    def test_objects_of_a_sync_path_are_not_substituted(self) -> None:
        world = monorepo()
        world.files["apps/one/map.yaml"] = config_map("one", "{script: 'echo ${HOME} $$'}")
        (entry,) = world.plan().bundle.by_id[workload("one")].entries
        assert not entry.template

    def test_flux_objects_nested_at_any_depth_are_taken_up(self) -> None:
        world = monorepo()
        world.files["apps/one/more.yaml"] = kustomization("three", "./deep/three")
        world.files["deep/three/map.yaml"] = config_map("three")
        plan = world.plan()
        assert objects(plan, "three") == ["three"]
        assert plan.by_id[workload("three")].parent == workload("one")
        assert objects(plan, "one") == ["one"], "the Kustomization itself goes to no cluster"

    def test_two_clusters_may_mean_different_things_by_one_name(self) -> None:
        world = monorepo()
        world.files["clusters/prod/all.yaml"] = kustomization("one", "./apps/two")
        assert objects(world.plan("prod"), "one") == ["two"]
        assert objects(world.plan("dev"), "one") == ["one"]

    def test_a_circle_of_kustomizations_is_reported(self) -> None:
        world = monorepo()
        world.files["apps/one/back.yaml"] = kustomization("flux-system", "./clusters/dev")
        plan = world.plan()
        reason, message = why(plan, "one")
        assert reason == "CircularDefinition"
        assert str(ROOT) in message
        assert "clusters/dev/apps.yaml" in message

    def test_fluxs_own_controllers_are_left_out_and_reported(self) -> None:
        world = monorepo()
        labels = "labels: {app.kubernetes.io/part-of: flux, app.kubernetes.io/instance: flux-system}"
        world.files["clusters/dev/flux-system/gotk-components.yaml"] = (
            f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: flux-system, {labels}}}\n---\n"
            f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: source, namespace: flux-system, {labels}}}\n"
        )
        plan = world.plan()
        assert objects(plan, ROOT) == ["flux-system"]
        assert plan.by_id[ROOT].notes == ("left out 1 object: Flux's own controllers and CRDs",)

    def test_a_cluster_without_a_folder_has_nothing(self) -> None:
        plan = monorepo().plan("elsewhere")
        assert plan.workloads == ()
        assert plan.bundle.workloads == ()

    def test_a_declared_cluster_says_where_it_is_configured(self) -> None:
        world = monorepo()
        world.files["fleet/c.yaml"] = (
            "apiVersion: fleet.felloe.io/v1alpha1\nkind: Cluster\nmetadata: {name: x}\n"
            "spec: {syncPath: clusters/dev, paused: true}\n"
        )
        plan = world.plan("x")
        assert objects(plan, "one") == ["one"]
        assert plan.paused

    def test_another_repository_is_fetched_as_instead_of_says(self) -> None:
        world = monorepo()
        world.files["clusters/dev/apps.yaml"] += repository("lib", "https://far.example/lib", "ref: {tag: v1}")
        world.files["clusters/dev/apps.yaml"] += kustomization("three", "./x", source="lib")
        world.other["https://near.example/lib"] = {"x/map.yaml": config_map("three")}
        plan = world.plan(rewrite=lambda url: url.replace("far.", "near."))
        assert objects(plan, "three") == ["three"]
        assert set(world.asked) == {"https://near.example/lib"}

    @pytest.mark.parametrize(
        ("url", "ref", "own"),
        [
            (FLEET_URL.removesuffix(".git"), "ref: {branch: main}", True),
            ("ssh://git@git.example/org/fleet", "ref: {branch: main}", True),
            (FLEET_URL, "ref: {name: refs/heads/main}", True),
            (FLEET_URL, "ref: {branch: other}", False),
            (FLEET_URL, "ref: {branch: main}, ignore: '*.md'", False),
            ("https://git.example/org/other", "ref: {branch: main}", False),
        ],
    )
    def test_a_repository_with_the_fleets_url_and_ref_is_the_fleets_own(self, url: str, ref: str, own: bool) -> None:
        world = monorepo()
        world.files["clusters/dev/flux-system/gotk-sync.yaml"] = ""
        world.files["clusters/dev/more.yaml"] = repository(url=url, spec=ref)
        plan = world.plan()
        assert (world.asked == []) is own
        assert (objects(plan, "one") == ["one"]) is own


class TestWhatIsWrongKeepsThePreviousVersion:
    """Every mistake: the workload keeps what it had, the message says what and where, the others go on."""

    @pytest.mark.parametrize(
        ("path", "content", "reason", "says"),
        [
            ("apps/one/map.yaml", "BROKEN", "BuildFailed", "apps/one/map.yaml"),
            (
                "apps/one/map.yaml",
                config_map("one").replace("shop}", "shop, annotations: {fleet.felloe.io/wave: first}}"),
                "BuildFailed",
                "ConfigMap shop/one: fleet.felloe.io/wave is 'first'; use a whole number from -1000 to 1000",
            ),
            ("apps/one/map.yaml", None, "ArtifactFailed", "./apps/one"),
            ("apps/one/map.yaml", "# nothing left\n", "BuildFailed", "resources: []"),
            ("clusters/dev/apps.yaml", kustomization("one", "../out"), "ArtifactFailed", "spec.path"),
            ("clusters/dev/apps.yaml", kustomization("one", spec="prun: true"), "InvalidConfiguration", "spec.prun"),
            ("clusters/dev/apps.yaml", kustomization("one", source="gone"), "ArtifactFailed", "spec.sourceRef"),
            (
                "clusters/dev/apps.yaml",
                kustomization("one", spec="namePrefix: x-"),
                "NotSupportedYet",
                "spec.namePrefix",
            ),
            (
                "clusters/dev/apps.yaml",
                kustomization("one", spec="dependsOn: [{name: none}]"),
                "DependencyNotReady",
                "Kustomization/flux-system/none",
            ),
            (
                "clusters/dev/apps.yaml",
                kustomization("one", spec="dependsOn: [{name: two}]")
                + kustomization("two", spec="dependsOn: [{name: one}]"),
                "DependencyNotReady",
                "one → Kustomization/flux-system/two → Kustomization/flux-system/one",
            ),
        ],
    )
    def test_of_one_workload(self, path: str, content: str | None, reason: str, says: str) -> None:
        world = monorepo()
        before = world.plan()
        if content is None:
            del world.files[path]
        else:
            world.files[path] = content
        world.revision = "main@sha1:2"
        plan = world.plan(previous=before)
        assert unchanged(plan, before, "one")
        got, message = why(plan, "one")
        assert got == reason
        assert says in message
        assert plan.by_id[workload("one")].kept_previous
        assert plan.by_id[workload("one")].revision == "main@sha1:1"

    def test_of_a_source_that_fails(self) -> None:
        world = monorepo()
        world.files["clusters/dev/apps.yaml"] += repository("lib", "https://far.example/lib") + kustomization(
            "three", "./x", source="lib"
        )
        world.other["https://far.example/lib"] = {"x/map.yaml": config_map("three")}
        before = world.plan()
        world.other["https://far.example/lib"] = "the ref main is not there"
        world.files["apps/one/map.yaml"] = config_map("one", "{text: changed}")
        plan = world.plan(previous=before)
        assert unchanged(plan, before, "three")
        assert why(plan, "three") == ("ArtifactFailed", "GitRepository/flux-system/lib: the ref main is not there")
        assert not unchanged(plan, before, "one")

    def test_of_a_root_keeps_all_that_is_below_it(self) -> None:
        world = monorepo()
        before = world.plan()
        world.files["clusters/dev/broken.yaml"] = "BROKEN"
        plan = world.plan(previous=before)
        assert plan.bundle.root == before.bundle.root
        assert why(plan, "one")[0] == "ParentNotReady"
        # What nobody could look at stays for as long as nobody can.
        again = world.plan(previous=plan)
        assert again == plan

    def test_of_a_sync_folder_that_vanished(self) -> None:
        world = monorepo()
        before = world.plan()
        world.files = {path: text for path, text in world.files.items() if not path.startswith("clusters/")}
        plan = world.plan(previous=before)
        assert plan.bundle.root == before.bundle.root
        assert why(plan, ROOT)[0] == "ArtifactFailed"
        assert world.plan(previous=plan, default_sync_path=None).bundle.root == before.bundle.root

    def test_of_two_workloads_that_claim_one_object(self) -> None:
        world = monorepo()
        before = world.plan()
        world.files["apps/one/more.yaml"] = config_map("two")
        plan = world.plan(previous=before)
        assert unchanged(plan, before, "one", "two")
        reason, message = why(plan, "one")
        assert reason == "ObjectConflict"
        assert str(map_id("two")) in message
        assert str(workload("two")) in message

    def test_a_workload_that_was_never_applied_is_in_no_bundle_but_seen(self) -> None:
        world = monorepo()
        world.files["apps/one/map.yaml"] = "BROKEN"
        plan = world.plan()
        assert workload("one") not in plan.bundle.by_id
        assert not plan.by_id[workload("one")].kept_previous
        assert why(plan, "two")[0] == "DependencyNotReady", "what depends on it waits"

    def test_an_object_may_move_to_another_workload_in_one_commit(self) -> None:
        world = monorepo()
        world.files["apps/one/more.yaml"] = config_map("moves")
        before = world.plan()
        world.files["apps/two/more.yaml"] = world.files.pop("apps/one/more.yaml")
        plan = world.plan(previous=before)
        assert objects(plan, "two") == ["moves", "two"]
        assert condition(plan, "two") is None


class TestWhatIsRemovedOnPurposeGoes:
    def test_a_workload_that_its_parent_does_not_have_any_more(self) -> None:
        world = monorepo()
        before = world.plan()
        world.files["clusters/dev/apps.yaml"] = kustomization("one")
        assert {each.id for each in world.plan(previous=before).workloads} == {ROOT, workload("one")}

    def test_the_last_object_of_a_workload(self) -> None:
        world = monorepo()
        before = world.plan()
        del world.files["apps/one/map.yaml"]
        world.files["apps/one/kustomization.yaml"] = "resources: []"
        plan = world.plan(previous=before)
        assert objects(plan, "one") == []
        assert workload("one") in plan.bundle.by_id
        assert condition(plan, "one") is None

    def test_but_not_below_a_parent_that_does_not_prune(self) -> None:
        world = monorepo()
        sync = repository() + kustomization("flux-system", "./clusters/dev").replace("prune: true", "prune: false")
        world.files["clusters/dev/flux-system/gotk-sync.yaml"] = sync
        before = world.plan()
        world.files["clusters/dev/apps.yaml"] = kustomization("one")
        plan = world.plan(previous=before)
        assert unchanged(plan, before, "two")
        assert why(plan, "two")[0] == "Orphaned"
        assert unchanged(world.plan(previous=plan), before, "two")


class TestSuspension:
    def test_git_and_people_suspend_and_nothing_changes_meanwhile(self) -> None:
        world = monorepo()
        before = world.plan()
        world.files["apps/one/map.yaml"] = config_map("one", "{text: changed}")
        for plan in (
            world.plan(previous=before, suspended=frozenset({workload("one")})),
            self._suspended_in_git(world, before),
        ):
            held = plan.bundle.by_id[workload("one")]
            assert held.options.suspend
            assert held.entries == before.bundle.by_id[workload("one")].entries
            assert condition(plan, "one") is None
            assert condition(plan, "two") is None
        resumed = monorepo().plan(previous=plan)
        assert not resumed.bundle.by_id[workload("one")].options.suspend

    @staticmethod
    def _suspended_in_git(world: World, before: ClusterPlan) -> ClusterPlan:
        world.files["clusters/dev/apps.yaml"] = kustomization("one", spec="suspend: true") + kustomization("two")
        return world.plan(previous=before)

    def test_what_a_suspended_workload_defines_stays_and_says_why(self) -> None:
        world = monorepo()
        before = world.plan()
        world.files["apps/one/map.yaml"] = config_map("one", "{text: changed}")
        plan = world.plan(previous=before, suspended=frozenset({ROOT}))
        assert unchanged(plan, before, "one", "two")
        assert condition(plan, "one") is None
        assert "is suspended" in plan.by_id[workload("one")].notes[0]

    def test_a_mistake_after_resuming_does_not_suspend_again(self) -> None:
        world = monorepo()
        suspended = world.plan(previous=world.plan(), suspended=frozenset({workload("one")}))
        world.files["apps/one/map.yaml"] = "BROKEN"
        assert not world.plan(previous=suspended).bundle.by_id[workload("one")].options.suspend

    def test_asking_for_a_workload_changes_its_root(self) -> None:
        world = monorepo()
        before = world.plan()
        plan = world.plan(previous=before, requested_at={workload("one"): "now"})
        assert plan.bundle.by_id[workload("one")].options.requested_at == "now"
        assert plan.bundle.root != before.bundle.root


def test_a_field_that_can_be_ignored_is_reported_and_the_workload_goes_on() -> None:
    world = monorepo()
    world.files["clusters/dev/apps.yaml"] = kustomization("one", spec="ignoreMissingComponents: true") + kustomization(
        "two"
    )
    plan = world.plan()
    assert objects(plan, "one") == ["one"]
    assert "spec.ignoreMissingComponents" in why(plan, "one", "Unsupported")[1]


def test_a_flux_kind_that_is_not_supported_yet_is_reported_and_goes_to_no_cluster() -> None:
    world = monorepo()
    world.files["apps/one/helm.yaml"] = (
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: redis, namespace: shop}\nspec: {}\n"
    )
    plan = world.plan()
    assert objects(plan, "one") == ["one"]
    assert "HelmRelease shop/redis" in why(plan, "one", "Unsupported")[1]


def test_what_is_bundled_is_what_was_rendered() -> None:
    world = monorepo()
    plan = world.plan()
    (entry,) = plan.bundle.by_id[workload("one")].entries
    assert orjson.loads(plan.blobs[entry.digest]) == load_all(world.files["apps/one/map.yaml"], file="")[0].value
    assert plan.bundle.digests() == set(plan.blobs)


def test_a_plan_survives_being_stored() -> None:
    world = monorepo()
    spec = (
        "dependsOn: [{name: one, readyExpr: dep.ok}], healthChecks: [{apiVersion: v1, kind: Pod, name: a}], "
        "healthCheckExprs: [{apiVersion: a/v1, kind: B, current: c}], ignore: [{paths: [/data]}], "
        "force: true, deletionPolicy: Orphan, serviceAccountName: deployer"
    )
    world.files["clusters/dev/apps.yaml"] += kustomization("bad", "./nowhere")
    full = kustomization("full", "./apps/full", spec).replace("metadata: {", "metadata: {labels: {a: b}, ")
    world.files |= {"clusters/dev/full.yaml": full, "apps/full/map.yaml": config_map("full")}
    plan = world.plan(requested_at={workload("one"): "t"})
    assert [entry.ignore for entry in plan.bundle.by_id[workload("full")].entries] == [("/data",)]
    assert plan.bundle.by_id[workload("full")].options.labels == (("a", "b"),)
    stored = plan_from_json(orjson.loads(orjson.dumps(plan_to_json(plan))))
    assert stored == plan
    assert stored.bundle.root == plan.bundle.root


@given(order=st.permutations(["a", "b", "c", "d"]))
@settings(max_examples=24, deadline=None)
def test_the_root_does_not_depend_on_the_order_in_which_things_stand(order: list[str]) -> None:
    texts = {name: kustomization(name, f"./apps/{name}") for name in order}
    files = {f"apps/{name}/map.yaml": config_map(name) for name in order}
    one = World({**files, "clusters/dev/all.yaml": repository() + "".join(texts[name] for name in order)}).plan()
    other = World({**files, "clusters/dev/all.yaml": "".join(texts[n] for n in sorted(order)) + repository()}).plan()
    assert one.bundle.root == other.bundle.root
    assert one == other


BREAK = st.sampled_from(["BROKEN", "", "# empty\n", kustomization("flux-system", "./x"), config_map("one")])


@given(
    broken=st.dictionaries(st.sampled_from(["clusters/dev/new.yaml", "apps/one/map.yaml", "apps/two/map.yaml"]), BREAK)
)
@settings(max_examples=40, deadline=None)
def test_no_mistake_ever_takes_a_workload_or_its_objects_away(broken: dict[str, str]) -> None:
    world = monorepo()
    before = world.plan()
    world.files |= broken
    plan = world.plan(previous=before)
    for had in before.bundle.workloads:
        now = plan.bundle.by_id[had.id]
        for entry in had.entries:
            assert any(entry.id == each.id for each in now.entries)
    again = world.plan(previous=plan)
    assert again.bundle.root == plan.bundle.root, "the same inputs settle at once"


NAMES = ["a", "b", "c"]
CONTENTS = st.one_of(
    st.sampled_from(["BROKEN", "", config_map("one"), config_map("two"), config_map("three"), repository()]),
    st.builds(
        kustomization,
        st.sampled_from([*NAMES, "flux-system"]),
        st.sampled_from(["./apps/a", "./apps/b", "./apps/c", "./clusters/dev", "."]),
        st.sampled_from(
            ["", "suspend: true", "dependsOn: [{name: a}]", "dependsOn: [{name: b}]", "images: [{name: x}]"]
        ),
        st.sampled_from(["flux-system", "gone"]),
    ),
)
PATHS = st.sampled_from([f"{folder}/{file}.yaml" for folder in ("clusters/dev", "apps/a", "apps/b") for file in "xyz"])
REPOSITORIES = st.dictionaries(PATHS, CONTENTS, max_size=6)


@given(commits=st.lists(REPOSITORIES, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_whatever_is_in_git_a_cluster_keeps_what_is_not_provably_unwanted(commits: list[dict[str, str]]) -> None:
    before: ClusterPlan | None = None
    for number, files in enumerate(commits):
        world = World(files, revision=f"main@sha1:{number}")
        plan = world.plan(previous=before)
        owners = [entry.id for each in plan.bundle.workloads for entry in each.entries]
        assert len(owners) == len(set(owners)), "no object is in two workloads"
        for each in plan.workloads:
            had = before.bundle.by_id.get(each.id) if before else None
            if any(found.type == "Ready" for found in each.conditions):
                now = plan.bundle.by_id.get(each.id)
                assert (now.entries if now else None) == (had.entries if had else None)
        assert world.plan(previous=plan).bundle.root == plan.bundle.root, "the same inputs settle at once"
        before = plan
