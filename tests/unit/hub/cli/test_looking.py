from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import yaml

from hub.status.facts import Condition, EventFacts
from tests.unit.hub.api.inmemory import COMMIT, NOW, REVISION, Threaded, cluster, workload, workload_summary
from tests.unit.hub.cli.conftest import Felloe


def rows(out: str) -> list[list[str]]:
    """Return a table's cells."""
    return [re.split(r" {3,}", line) for line in out.splitlines()]


def test_a_table_of_clusters(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("get", "clusters")
    assert done.code == 0, done.err
    head, *body = rows(done.out)
    assert head == ["NAME", "READY", "CONNECTED", "REVISION", "WORKLOADS", "SINCE", "MESSAGE"]
    without_age = [row[:5] + row[6:] for row in body]
    assert without_age == [
        ["dev-1", "True", "yes", "main@sha1:1234abcd", "1/1", "1 workloads"],
        ["prod-1", "True", "yes", "main@sha1:1234abcd", "1/1", "1 workloads"],
        ["prod-2", "Unknown", "no", "main@sha1:1234abcd", "0/0", "the spoke is not connected"],
    ]


def test_columns_are_aligned_and_messages_whole_where_piped(hub: Threaded, felloe: Felloe) -> None:
    message = "word " * 60
    hub.do(lambda h: h.board.post(cluster("dev-1", ready=Condition("Ready", "False", "X", message, NOW))))
    done = felloe("get", "clusters")
    assert message.strip() in done.out
    lines = done.out.splitlines()
    assert {line[lines[0].index("CONNECTED") :].split()[0] for line in lines[1:]} <= {"yes", "no"}
    assert "\x1b" not in done.out


@pytest.mark.parametrize("command", [["get", "clusters"], ["describe", "cluster", "dev-1"], ["events"]])
def test_no_message_steers_the_terminal(hub: Threaded, felloe: Felloe, command: list[str]) -> None:
    message = "done \x1b]0;title\x07\x1b[2J\x9b2Jé\tok"
    hub.do(lambda h: h.board.post(cluster("dev-1", ready=Condition("Ready", "False", "X", message, NOW))))
    hub.do(lambda h: h.events.add(EventFacts(NOW, "Warning", "X", message, "dev-1")))
    done = felloe(*command)
    assert "]0;title" in done.out, done.err
    assert "é ok" in done.out
    assert not {character for character in done.out if not character.isprintable()} - {"\n"}


def test_filters(hub: Threaded, felloe: Felloe) -> None:
    assert [row[0] for row in rows(felloe("get", "clusters", "-l", "env=prod").out)[1:]] == ["prod-1", "prod-2"]
    assert [row[0] for row in rows(felloe("get", "workloads", "--cluster", "prod-1").out)[1:]] == ["prod-1"]
    done = felloe("get", "clusters", "-l", "env=nowhere")
    assert (done.code, done.out, done.err) == (0, "", "no clusters found\n")
    assert felloe("get", "clusters", "-l", "env prod").code == 1


@pytest.mark.parametrize("word", ["clusters", "cluster", "Clusters"])
def test_kinds_are_known_by_several_words(hub: Threaded, felloe: Felloe, word: str) -> None:
    assert felloe("get", word, "-o", "name").out.splitlines() == ["cluster/dev-1", "cluster/prod-1", "cluster/prod-2"]


def test_wide_shows_more(hub: Threaded, felloe: Felloe) -> None:
    out = felloe("get", "workloads", "-o", "wide").out
    assert "GitRepository/flux-system/fleet" in out
    assert "env=prod" in felloe("get", "clusters", "-o", "wide").out
    assert "https://git.example.com/fleet.git" in felloe("get", "sources", "-o", "wide").out


def test_json_is_a_list_and_for_one_name_the_object_itself(hub: Threaded, felloe: Felloe) -> None:
    whole = json.loads(felloe("get", "clusters", "-o", "json").out)
    assert (whole["kind"], whole["apiVersion"], len(whole["items"])) == ("List", "v1", 3)
    one = json.loads(felloe("get", "cluster", "dev-1", "-o", "json").out)
    assert (one["kind"], one["metadata"]["name"], one["status"]["revision"]) == ("Cluster", "dev-1", REVISION)
    same = yaml.safe_load(felloe("get", "cluster", "dev-1", "-o", "yaml").out)
    assert same == one
    several = json.loads(felloe("get", "workload", "flux-system/apps", "-o", "json").out)
    assert [item["cluster"] for item in several["items"]] == ["dev-1", "prod-1"]
    assert felloe("get", "workloads", "apps", "-o", "name").out == "workload/flux-system/apps\n"
    assert json.loads(felloe("get", "clusters", "-l", "a=b", "-o", "json").out)["items"] == []


def test_a_name_that_nothing_has_says_what_there_is(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("get", "cluster", "dev")
    assert done.code == 1
    assert done.err == "error: there is no cluster 'dev'; there are: dev-1, prod-1, prod-2\n"
    assert "there are no placements" in felloe("get", "placement", "x").err
    done = felloe("get", "workload", "apps", "--cluster", "prod-2")
    assert (done.code, "on cluster 'prod-2'" in done.err) == (1, True)


def test_an_unknown_kind_is_a_usage_error(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("get", "pods")
    assert done.code == 2
    assert "clusters, sources, environments, placements, workloads or rollouts" in done.err
    assert felloe("get").code == 2
    assert felloe("get", "clusters", "-o", "xml").code == 2


def test_describe_a_cluster(hub: Threaded, felloe: Felloe) -> None:
    problem = {"object": "Deployment.apps shop/web", "reason": "ApplyFailed", "message": "replicas: Invalid\nvalue"}
    hub.do(lambda h: h.board.post(workload("dev-1", problems=[problem], problemCount=1)))
    done = felloe("describe", "cluster", "dev-1")
    assert done.code == 0, done.err
    assert re.search(rf"^Revision: +{REVISION}$", done.out, re.MULTILINE)
    assert "region=eu" in done.out
    assert re.search(r"Deployment\.apps shop/web +ApplyFailed +replicas: Invalid value", done.out)
    assert re.search(r"Applied +dev-1 +Kustomization/flux-system/apps +3 objects applied", done.out)
    assert "FetchFailed" not in done.out


def test_describe_a_workload_on_each_cluster_that_has_it(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("describe", "workload", "apps")
    assert re.findall(r"^Cluster: +(.*)$", done.out, re.MULTILINE) == ["dev-1", "prod-1"]
    assert re.search(r"Healthy +True +Succeeded", done.out)
    assert "Failing objects: none" in done.out
    done = felloe("describe", "workload", "apps", "--cluster", "prod-1")
    assert re.findall(r"^Cluster: +(.*)$", done.out, re.MULTILINE) == ["prod-1"]
    assert felloe("describe", "workload", "none").code == 1
    assert felloe("describe", "source", "fleet").code == 2


def test_render_prints_yaml_that_kubectl_reads_the_same(hub: Threaded, felloe: Felloe) -> None:
    done = felloe("render", "--cluster", "dev-1")
    assert done.code == 0, done.err
    assert done.out.startswith(f"---\n# Kustomization/flux-system/apps {REVISION}\n")
    manifest = yaml.safe_load(done.out)
    assert manifest["metadata"]["name"] == "dev-1"
    assert 'answer: "y"' in done.out
    missing = "error: there is no cluster 'none'; there are: dev-1, prod-1, prod-2\n"
    assert felloe("render", "--cluster", "none").err == missing
    assert felloe("get", "workloads", "--cluster", "none").err == missing
    assert felloe("render").code == 2


def test_what_is_held_says_so(hub: Threaded, felloe: Felloe) -> None:
    held = replace(workload("dev-1"), spec={"suspend": True})
    hub.do(lambda h: h.board.post(held))
    hub.do(lambda h: h.board.post(replace(cluster("prod-1"), spec={"paused": True})))
    assert rows(felloe("get", "workloads", "--cluster", "dev-1").out)[1][-1] == "suspended; Applied revision"
    assert rows(felloe("get", "cluster", "prod-1").out)[1][-1] == "paused; 0 workloads"


def test_events(hub: Threaded, felloe: Felloe) -> None:
    out = felloe("events").out
    assert [row[1:5] for row in rows(out)] == [
        ["TYPE", "REASON", "CLUSTER", "OBJECT"],
        ["Normal", "Applied", "dev-1", "Kustomization/flux-system/apps"],
        ["Warning", "FetchFailed", "-", "-"],
    ]
    items = json.loads(felloe("events", "--cluster", "dev-1", "-o", "json").out)["items"]
    assert [item["reason"] for item in items] == ["Applied"]
    assert felloe("events", "--cluster", "prod-1").err == "no events\n"


def test_a_revision_that_the_cluster_is_between_is_shown_as_none(hub: Threaded, felloe: Felloe) -> None:
    hub.do(lambda h: h.board.post(cluster("dev-1", workload_summary(applied=False, healthy=False))))
    assert rows(felloe("get", "cluster", "dev-1").out)[1][3] == "-"
    assert COMMIT not in felloe("get", "cluster", "dev-1").out


def test_a_workload_whose_spoke_is_away_shows_that_it_may_be_otherwise(hub: Threaded, felloe: Felloe) -> None:
    hub.do(lambda h: h.board.post(workload("prod-1", connected=False)))
    done = felloe("get", "workloads", "--cluster", "prod-1")
    assert "the spoke is not connected, its last word: Applied revision" in done.out
