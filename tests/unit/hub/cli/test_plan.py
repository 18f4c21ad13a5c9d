"""`felloe plan`: its forms, what it sends of a checkout, and its exit codes."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from felloe.errors import ConfigError, SourceError
from felloe.identity import ObjectId
from hub.changes.grouping import Groups, Seen
from hub.changes.model import (
    Action,
    FieldChange,
    Finding,
    ObjectChange,
    Operation,
    Placed,
    Reason,
    Severity,
    VariableChange,
    WorkloadChange,
)
from hub.cli import checkout
from hub.cli.checkout import pack
from hub.cli.plan_markdown import LIMIT, markdown
from hub.planning.forecast import Forecast
from hub.planning.order import StageOrder, TrackOrder
from hub.rollout.model import Track
from hub.sources.archive import read_archive
from tests.servers.git_repo import git
from tests.unit.hub.api.inmemory import APPS, Threaded
from tests.unit.hub.cli.conftest import Felloe

WEB = ObjectId("apps", "Deployment", "shop", "web")
CHANGE = WorkloadChange(
    APPS, "placement/shop", Action.UPDATE,
    (
        ObjectChange(WEB, "apps/v1", Action.UPDATE, (
            FieldChange("spec.replicas", Operation.REPLACE, 1, 3),
            FieldChange("data.file", Operation.REPLACE, diff="@@ -1 +1 @@\n-old line\n+new line\n"),
        )),
        ObjectChange(
            ObjectId("", "ConfigMap", "shop", "new"), "v1", Action.CREATE, manifest={"data": {"a": "\x1b[31m1"}}
        ),
        ObjectChange(ObjectId("", "ConfigMap", "shop", "old"), "v1", Action.DELETE),
    ),
    variables=("tier",),
    findings=(Finding(Reason.IMMUTABLE_FIELD, Severity.WARNING, "spec.selector can't be changed", WEB),),
    fingerprint=b"1",
)  # fmt: skip
ORDER = (
    TrackOrder(Track("placement/shop", "dev"), (StageOrder("", ("dev-0",), 1),)),
    TrackOrder(
        Track("placement/shop", "production"),
        (StageOrder("canary", ("dev-0",), 1, ("ok (approval)",), 600.0), StageOrder("the rest", ("dev-1",), 3)),
        "careful", after="dev", soak=3600.0, approval=True,
    ),
)  # fmt: skip
BROKEN = WorkloadChange(
    APPS, "sync", Action.SAME, fingerprint=b"2",
    findings=(Finding(Reason.NOT_BUILT, Severity.ERROR, "app.yaml: is no YAML"),),
)  # fmt: skip


def answers(hub: Threaded, *changes: WorkloadChange, troubles: dict[str, str] | None = None) -> None:
    groups = Groups()
    for number, change in enumerate(changes):
        variables = (VariableChange("tier", "small", "large"),) if change.variables else ()
        groups.add(Seen(f"dev-{number}"), [Placed(change, variables)])
    groups.add(Seen("prod-1"), [])
    made = Forecast("main@sha1:2", "main@sha1:1", groups, ORDER, "a subject", "Ada", troubles or {})
    hub.do(lambda h: setattr(h, "forecasts", [made]))


def test_what_changes_as_text(hub: Threaded, felloe: Felloe) -> None:
    answers(hub, CHANGE)
    done = felloe("plan", "--branch", "feature")
    stages = "canary 1 cluster (gate ok (approval), soak 10m) → the rest 1 cluster of 3"
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "main@sha1:2 against main@sha1:1: a subject",
        "",
        "cluster dev-0",
        "  ~ Kustomization/flux-system/apps (placement/shop)",
        "      stages: canary 1",
        '    ~ variable tier: "small" → "large" (1 cluster)',
        "    ~ Deployment shop/web",
        "      ! warning: ImmutableField: spec.selector can't be changed",
        "      ~ spec.replicas: 1 → 3",
        "      ~ data.file:",
        "          @@ -1 +1 @@",
        "        - old line",
        "        + new line",
        "    + ConfigMap shop/new",
        "      + data:",
        '      +   a: "\\e[31m1"',
        "    - ConfigMap shop/old",
        "",
        "order",
        "  shop@dev: at once: 1 cluster",
        f"  shop@production: after dev is healthy (for 1h, approved); by rollout careful: {stages}",
        "",
        "1 to create, 1 to change, 1 to delete on 1 of 2 clusters; 1 warning",
    ]
    assert hub.hub.calls == [("plan", "refs/heads/feature", 0, "")]


def test_exit_codes(hub: Threaded, felloe: Felloe) -> None:
    ask = ("plan", "--revision", "main")
    answers(hub)
    assert felloe(*ask).code == felloe(*ask, "--detailed-exitcode").code == 0
    assert felloe(*ask).out.splitlines()[-1] == "nothing changes on 1 cluster"
    answers(hub, CHANGE)
    assert (felloe(*ask).code, felloe(*ask, "--detailed-exitcode").code, felloe(*ask, "--strict").code) == (0, 2, 1)
    answers(hub, CHANGE, BROKEN)
    assert felloe(*ask, "--detailed-exitcode").code == 1
    answers(hub, CHANGE, troubles={"c-9": "a bug"})
    done = felloe(*ask, "--detailed-exitcode")
    assert (done.code, "error: cluster c-9: a bug" in done.out) == (1, True)
    for error in (SourceError("no such ref"), ConfigError("it does not load")):
        hub.do(lambda h, error=error: setattr(h, "forecasts", [error]))  # type: ignore[misc]
        done = felloe(*ask, "--detailed-exitcode", "-o", "json")
        assert (done.code, done.out, done.err) == (1, "", f"error: {error}\n")


@pytest.mark.parametrize("options", [(), ("--revision", "a", "--branch", "b"), ("--path", ".", "--branch", "b")])
def test_just_one_thing_is_asked_about(felloe: Felloe, options: tuple[str, ...]) -> None:
    done = felloe("plan", *options)
    assert done.code == 2
    assert "one of --revision, --branch and --path" in re.sub(r"\s+", " ", done.err)


def test_json_is_one_document(hub: Threaded, felloe: Felloe) -> None:
    answers(hub, CHANGE)
    told = json.loads(felloe("plan", "--revision", "main", "-o", "json", "-l", "env=dev").out)
    assert (told["kind"], told["apiVersion"]) == ("Plan", "fleet.felloe.io/v1alpha1")
    (group,) = told["groups"]
    assert [each["change"] for each in group["workloads"][0]["objects"]] == ["update", "create", "delete"]


def test_markdown_unfolds_by_group(hub: Threaded, felloe: Felloe) -> None:
    answers(hub, CHANGE, BROKEN)
    shown = felloe("plan", "--revision", "main", "-o", "markdown").out
    assert shown.startswith("### felloe plan: 1 to create, 1 to change, 1 to delete on 1 of 3 clusters\n")
    assert (
        "**Errors**\n\n- **NotBuilt** `Kustomization/flux-system/apps` on `cluster dev-1`: `app.yaml: is no YAML`\n"
        in shown
    )
    assert "**Order**\n\n- `shop@dev: at once: 1 cluster`\n- `shop@production: " in shown
    assert "**Warnings**\n\n- **ImmutableField** `Deployment shop/web`" in shown
    summary = "<code>cluster dev-0</code>: <code>Kustomization/flux-system/apps</code>"
    assert f"\n<details><summary>{summary}</summary>\n\n```diff\n" in shown
    assert "\n-     spec.replicas: 1\n+     spec.replicas: 3\n" in shown
    assert shown.count("<details>") == shown.count("</details>") == 2


def plan_of(*lines: str, groups: int = 1) -> dict[str, Any]:
    """A plan with a new object a line in every group."""
    objects = [{"kind": "ConfigMap", "name": line, "change": "create", "fields": []} for line in lines]
    workload = {"kind": "Kustomization", "namespace": "a", "name": "b", "change": "update", "objects": objects}
    return {
        "clusters": groups, "changedClusters": groups, "objects": {"create": len(lines)},
        "groups": [{"title": f"cluster {number}", "workloads": [workload]} for number in range(groups)],
    }  # fmt: skip


def test_a_comment_is_never_too_long_and_says_what_it_left_out() -> None:
    shown = markdown(plan_of(*(f"ünïcode-{number:06}" for number in range(500)), groups=30))
    assert len(shown.encode()) <= LIMIT
    assert len(shown.encode()) > LIMIT - 2000
    assert shown.count("<details>") == shown.count("</details>") > 3
    assert shown.count("```") % 2 == 0
    left = re.search(r"_(\d+) groups of clusters left out", shown)
    assert left
    assert int(left[1]) == 30 - shown.count("<details>") + 1, "the last one is cut"
    assert "left out" not in markdown(plan_of("a", groups=30))


@pytest.mark.parametrize(
    "evil", ["```\n# out", "````", "</details><script>", "@everyone [x](http://evil)", "` @team `"]
)
def test_nothing_in_a_comment_acts_as_markdown(evil: str) -> None:
    plan = plan_of(evil)
    plan["subject"] = plan["groups"][0]["title"] = evil
    plan["failed"] = [{"message": evil, "clusters": [evil]}]
    shown = markdown(plan)
    without_blocks = re.sub(r"\n(`{3,})diff\n.*?\n\1\n", "\n", shown, flags=re.DOTALL)
    assert "<details>" in without_blocks
    without_blocks = re.sub(r"<summary><code>[^<\n]*</code>: <code>[^<\n]*</code></summary>", "", without_blocks)
    text = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", without_blocks)  # inline code, CommonMark 6.1
    for mark in ("<script>", "@everyone", "@team", "](http", "# out"):
        assert mark not in text.replace("### felloe plan", "")


# -- what is sent of a checkout


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return sorted(member.name for member in tar)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A checkout with a commit, changes that are not committed, and what is ignored."""
    folder = tmp_path / "work"
    folder.mkdir()
    git("init", "--quiet", cwd=folder)
    for name in ("tracked.yaml", "gone.yaml", "folder/changed.yaml", ".gitignore"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("*.secret\nbuild/\n" if name == ".gitignore" else "1\n")
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "-m", "first", cwd=folder)
    (folder / "gone.yaml").unlink()
    (folder / "folder/changed.yaml").write_text("2\n")
    (folder / "new.yaml").write_text("new\n")
    (folder / "key.secret").write_text("secret\n")
    (folder / "build").mkdir()
    (folder / "build/out.yaml").write_text("built\n")
    return folder


def test_a_checkout_is_sent_as_it_is_now_without_what_git_ignores(work: Path) -> None:
    packed = pack(work)
    assert names(packed.archive) == [".gitignore", "folder/changed.yaml", "new.yaml", "tracked.yaml"]
    tree = read_archive(packed.archive)
    changed = tree.entry("folder/changed.yaml")
    assert changed
    assert tree.read(changed) == b"2\n"
    assert pack(work).archive == packed.archive


def test_a_checkout_reaches_the_hub(hub: Threaded, felloe: Felloe, work: Path) -> None:
    answers(hub, CHANGE)
    (work / "out").symlink_to("/etc/hostname")
    (work / "in").symlink_to("folder/changed.yaml")
    done = felloe("plan", "--path", str(work))
    assert done.code == 0
    assert done.err == "note: left out: out: a symbolic link out of the checkout\n"
    ((_, revision, size, _),) = hub.hub.calls
    assert revision == ""
    assert isinstance(size, int)
    assert size > 100


def test_a_folder_that_is_no_repository_is_sent_whole(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c.yaml").write_text("1")
    (tmp_path / "a/link").symlink_to("b")
    assert names(pack(tmp_path).archive) == ["a/b/c.yaml", "a/link"]


def test_what_can_not_be_sent(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        pack(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=f"is a folder of the checkout {work}"):
        pack(work / "folder")
    (work / "large.bin").write_bytes(b"x" * 3_000_000)
    monkeypatch.setattr(checkout, "MAX_BYTES", 2_000_000)
    with pytest.raises(ConfigError, match=r"The largest are large\.bin \(2\.9 MiB\)"):
        pack(work)


# -- the examples in the documentation


def examples() -> list[dict[Any, Any]]:
    """The YAML of docs/plan.md: GitHub's workflow and GitLab's."""
    page = (Path(__file__).parents[4] / "docs/plan.md").read_text()
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)]


def test_the_examples_for_ci_are_what_their_readers_take() -> None:
    github, gitlab = examples()
    assert github[True] == "pull_request", "YAML 1.1 takes `on` for a boolean, and GitHub does not"
    steps = github["jobs"]["plan"]["steps"]
    assert all(
        set(step) <= {"uses", "run", "name", "env", "if"} and ("uses" in step) != ("run" in step) for step in steps
    )
    assert all(isinstance(line, str) for line in gitlab["plan"]["script"] + gitlab["plan"]["after_script"])


def test_the_examples_call_felloe_as_it_is(
    hub: Threaded, felloe: Felloe, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    github, gitlab = examples()
    script = "\n".join([*(step.get("run", "") for step in github["jobs"]["plan"]["steps"]), *gitlab["plan"]["script"]])
    commands = re.findall(r"^felloe (plan .*?)(?: >.*)?$", script, flags=re.MULTILINE)
    assert len(commands) == 2
    monkeypatch.chdir(work)
    for command in commands:
        answers(hub, CHANGE)
        assert felloe(*command.split()).code == 0
