"""Requests are counted as the API server counts them, and told apart by who asked."""

from __future__ import annotations

import json

from tests.cluster.requests import parse_audit, parse_request_counts

METRICS = """\
# TYPE apiserver_request_total counter
apiserver_request_total{{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1"}} {pods}
apiserver_request_total{{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="WATCH",version="v1"}} 4
apiserver_request_total{{code="404",component="apiserver",dry_run="",group="apps",resource="deployments",scope="resource",subresource="status",verb="PATCH",version="v1"}} 1e+03
apiserver_request_duration_seconds_count{{verb="LIST"}} 12
"""  # noqa: E501 - this is how they look


def test_requests_in_between_are_counted_by_verb() -> None:
    before = parse_request_counts(METRICS.format(pods=2))
    after = parse_request_counts(METRICS.format(pods=5))
    assert (after - before).by_verb() == {"LIST": 3}
    assert (before - before).total() == 0


def test_watches_can_be_left_out() -> None:
    counts = parse_request_counts(METRICS.format(pods=2))
    assert counts.by_verb() == {"LIST": 2, "WATCH": 4, "PATCH": 1000}
    assert counts.total(exclude={"WATCH"}) == 1002


def test_a_kind_of_request_that_is_new_counts_in_full() -> None:
    nothing = parse_request_counts("")
    assert (parse_request_counts(METRICS.format(pods=2)) - nothing).total() == 1006


def test_an_audit_line_says_who_asked_for_what() -> None:
    line = {
        "kind": "Event",
        "stage": "ResponseComplete",
        "verb": "patch",
        "requestURI": "/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=felloe",
        "user": {"username": "system:serviceaccount:felloe:spoke"},
        "userAgent": "felloe-spoke/0.1",
        "objectRef": {
            "apiGroup": "apps",
            "resource": "deployments",
            "namespace": "shop",
            "name": "web",
            "subresource": "status",
        },
        "responseStatus": {"code": 200},
        "stageTimestamp": "2026-01-01T00:00:00.000000Z",
    }
    event = parse_audit(json.dumps(line).encode())
    assert (event.verb, event.group, event.resource, event.subresource) == ("patch", "apps", "deployments", "status")
    assert (event.namespace, event.name, event.code) == ("shop", "web", 200)
    assert event.user_agent == "felloe-spoke/0.1"


def test_an_audit_line_of_a_path_that_is_no_object() -> None:
    line = b'{"stage": "ResponseComplete", "verb": "get", "requestURI": "/readyz", "stageTimestamp": ""}'
    event = parse_audit(line)
    assert (event.uri, event.resource, event.code) == ("/readyz", "", 0)
