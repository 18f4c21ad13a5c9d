"""What is sent to the API server, and what its answers may quote."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from felloe.bundle import Entry, Workload
from felloe.digest import canonical_json, digest
from felloe.errors import BundleError
from felloe.identity import WorkloadId, object_id
from spoke.apply.prepare import applied_key, desired, expires, manifest, variables_digest

APPS = WorkloadId("Kustomization", "flux-system", "apps")


def entry(obj: dict[str, Any], *, template: bool = False) -> tuple[bytes, Entry]:
    blob = canonical_json(obj)
    return blob, Entry(object_id(obj), "v1", digest(blob), 3, len(blob), template)


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}, "data": data}


def test_a_template_is_another_object_when_its_values_change() -> None:
    blob, template = entry(config_map(k="${v}"), template=True)
    one, two = Workload(APPS, variables={"v": "1"}), Workload(APPS, variables={"v": "2"})
    assert desired(blob, template, one)["data"] == {"k": "1"}
    assert applied_key(template, variables_digest(one)) != applied_key(template, variables_digest(two))
    _, plain = entry(config_map(k="v"))
    assert applied_key(plain, variables_digest(one)) == applied_key(plain, variables_digest(two))


def test_a_blob_that_is_another_object_is_refused() -> None:
    _, wanted = entry(config_map())
    other = canonical_json(config_map() | {"metadata": {"name": "other", "namespace": "b"}})
    with pytest.raises(BundleError, match="ConfigMap b/a is ConfigMap b/other"):
        desired(other, wanted, Workload(APPS))


def test_string_data_becomes_data_and_status_is_dropped() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "namespace": "b"},
        "data": {"x": "eA==", "y": "eQ=="},
        "stringData": {"x": "new"},
        "status": {"old": "news"},
    }
    obj = desired(*entry(secret), Workload(APPS))
    assert obj["data"] == {"x": "bmV3", "y": "eQ=="}
    assert "stringData" not in obj
    assert "status" not in obj


def test_what_only_the_api_server_may_set_is_dropped() -> None:
    exported = config_map(k="v")
    exported["metadata"] |= {"uid": "u", "resourceVersion": "1", "managedFields": [], "creationTimestamp": None}
    assert desired(*entry(exported), Workload(APPS))["metadata"] == {"name": "a", "namespace": "b"}


def test_ports_without_a_protocol_are_tcp_wherever_pods_are_made() -> None:
    def with_spec(api: str, kind: str, spec: object) -> dict[str, Any]:
        return {"apiVersion": api, "kind": kind, "metadata": {"name": "a", "namespace": "b"}, "spec": spec}

    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53}]
    service: Any = desired(*entry(with_spec("v1", "Service", {"ports": ports})), Workload(APPS))
    assert [port["protocol"] for port in service["spec"]["ports"]] == ["UDP", "TCP"]
    pod = {"containers": [{"name": "c", "ports": [{"containerPort": 1}]}], "initContainers": [{"ports": None}]}
    cron = with_spec("batch/v1", "CronJob", {"jobTemplate": {"spec": {"template": {"spec": pod}}}})
    made: Any = desired(*entry(cron), Workload(APPS))
    container = made["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert container["ports"] == [{"containerPort": 1, "protocol": "TCP"}]
    foreign = with_spec("example.com/v1", "Service", {"ports": [{"port": 1}]})
    assert desired(*entry(foreign), Workload(APPS))["spec"] == {"ports": [{"port": 1}]}


@pytest.mark.parametrize("labels", [None, {}, {"fleet.felloe.io/workload-name": "forged", "mine": "x"}])
def test_our_labels_are_set_last(labels: dict[str, str] | None) -> None:
    obj = config_map()
    obj["metadata"]["labels"] = labels
    sent = orjson.loads(manifest(obj, APPS))["metadata"]["labels"]
    assert sent["fleet.felloe.io/workload-name"] == "apps"
    assert sent.get("mine") == (labels or {}).get("mine")


def test_a_job_that_the_cluster_removes_expires() -> None:
    assert expires({"kind": "Job", "spec": {"ttlSecondsAfterFinished": 0}})
    assert not expires({"kind": "Job", "spec": {}})
