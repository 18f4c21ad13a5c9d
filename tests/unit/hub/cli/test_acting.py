from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.hub.api.inmemory import APPS, REVISION, Threaded, cluster, workload
from tests.unit.hub.cli.conftest import Felloe


def test_a_token_is_all_that_goes_to_stdout(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("token", "create", "--cluster", "new-1", "--label", "env=dev", "--label", "a=", "--ttl", "1h30m")
    assert (done.code, done.out, done.err) == (0, "felloe1.secret\n", "")
    assert hub.hub.calls == [("token", "new-1", {"env": "dev", "a": ""}, timedelta(minutes=90))]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--label", "a=b"], 2, "--cluster"),
        (["--cluster", "a", "--label", "nothing"], 2, "KEY=VALUE"),
        (["--cluster", "a", "--ttl", "tomorrow"], 2, "tomorrow"),
        (["--cluster", "Not_A_Name"], 1, "Not_A_Name"),
        (["--cluster", "a", "--ttl", "1000h"], 1, "30 days"),
    ],
)
def test_a_token_for_something_impossible(
    hub: Threaded, felloe: Felloe, arguments: list[str], code: int, says: str
) -> None:
    done = felloe("token", "create", *arguments)
    assert done.code == code
    assert says in done.err
    assert not hub.hub.calls


def test_reconcile_a_source(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("reconcile", "source", "fleet")
    assert (done.code, done.out) == (0, f"source flux-system/fleet is at {REVISION}\n")
    assert hub.hub.calls == [("fetch", "GitRepository", "flux-system", "fleet")]


def test_reconcile_suspend_and_resume_a_workload(hub: Threaded, felloe: Felloe) -> None:
    assert felloe("reconcile", "workload", "flux-system/apps").out.endswith("on dev-1, prod-1\n")
    assert felloe("suspend", "workload", "apps", "--cluster", "dev-1").out.endswith("suspended on dev-1\n")
    assert felloe("resume", "workload", "apps", "--cluster", "dev-1").code == 0
    assert hub.hub.calls == [
        ("apply", APPS, ("dev-1", "prod-1")),
        ("suspend", APPS, ("dev-1",)),
        ("resume", APPS, ("dev-1",)),
    ]


def test_a_name_in_two_namespaces_is_asked_back(hub: Threaded, felloe: Felloe) -> None:
    both = [workload("dev-1"), workload("dev-1", namespace="other")]
    hub.do(lambda h: h.board.replace_cluster(cluster("dev-1"), both))
    done = felloe("suspend", "workload", "apps")
    assert done.code == 1
    assert "flux-system/apps, other/apps" in done.err
    assert not hub.hub.calls


def test_what_is_not_there_is_told_with_what_is(hub: Threaded, felloe: Felloe) -> None:
    assert "there are: flux-system/fleet" in felloe("reconcile", "source", "none").err
    assert "there are: flux-system/apps" in felloe("suspend", "workload", "none").err
    assert felloe("suspend", "source", "fleet").code == 2


def test_the_hubs_own_words_are_shown(hub: Threaded, felloe: Felloe) -> None:
    hub.do(lambda h: setattr(h, "source_error", "https://git.example.com: wrong credentials"))
    done = felloe("reconcile", "source", "fleet")
    assert (done.code, done.err) == (1, "error: https://git.example.com: wrong credentials\n")


PENDING = {"name": "abc", "count": 12, "total": 15, "objects": ["ConfigMap shop/a", "ConfigMap shop/b"]}


def test_a_deletion_is_shown_and_approved_only_when_that_is_said(hub: Threaded, felloe: Felloe) -> None:
    workloads = [workload("dev-1", pendingPrune=PENDING), workload("dev-1", "quiet")]
    hub.do(lambda h: h.board.replace_cluster(cluster("dev-1"), workloads))
    shown = felloe("approve", "prune", "--cluster", "dev-1")
    assert shown.code == 1
    assert shown.out.startswith(
        "workload flux-system/apps on dev-1 would delete 12 of 15 objects:\n  ConfigMap shop/a\n  ConfigMap shop/b\n"
        "  and 10 more"
    )
    assert not hub.hub.calls
    done = felloe("approve", "prune", "--cluster", "dev-1", "--workload", "apps", "--yes")
    assert (done.code, done.out.splitlines()[-1]) == (
        0,
        "approved: 12 objects of workload flux-system/apps are deleted on dev-1",
    )
    assert (hub.hub.calls, hub.hub.told) == ([("approve", APPS, "dev-1", "abc")], [("admin", "")])


@pytest.mark.parametrize("arguments", [["--workload", "quiet"], ["--workload", "nothing"]])
def test_there_is_nothing_to_approve(hub: Threaded, felloe: Felloe, arguments: list[str]) -> None:
    hub.do(lambda h: h.board.replace_cluster(cluster("dev-1"), [workload("dev-1", "quiet")]))
    assert felloe("approve", "prune", "--cluster", "dev-1", "--yes", *arguments).code == 1
    assert not hub.hub.calls
