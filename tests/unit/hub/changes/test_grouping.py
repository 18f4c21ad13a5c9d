"""The same change on many clusters is told once, with a title that is true of just these clusters."""

from __future__ import annotations

from felloe.identity import WorkloadId
from hub.changes.grouping import Groups, Seen
from hub.changes.model import Action, Finding, Placed, Reason, Severity, VariableChange, WorkloadChange


def change(name: str, fingerprint: bytes, *, action: Action = Action.UPDATE, **more: object) -> WorkloadChange:
    identity = WorkloadId("Kustomization", "flux-system", name)
    return WorkloadChange(identity, f"placement/{name}", action, fingerprint=fingerprint, **more)  # type: ignore[arg-type]


def seen(name: str, env: str, **labels: str) -> Seen:
    return Seen(name, {"env": env, **labels}, env)


SHOP, SHOP_TOO, LOGS = change("shop", b"1"), change("shop", b"2"), change("logs", b"3")
CLUSTERS = [
    seen("d1", "dev"), seen("p1", "production", region="eu"), seen("p2", "production", region="us"),
    seen("p3", "production", region="eu"), seen("s1", "staging"), seen("s2", "staging"),
]  # fmt: skip


def grouped(**changes: list[WorkloadChange]) -> list[tuple[str, tuple[str, ...], list[str]]]:
    groups = Groups()
    for cluster in CLUSTERS:
        groups.add(cluster, [Placed(each) for each in changes.get(cluster.name, [])])
    return [
        (group.title, group.clusters, [each.change.id.name for each in group.workloads]) for group in groups.groups()
    ]


def test_clusters_are_named_by_what_just_they_have_in_common() -> None:
    assert grouped(p1=[SHOP], p2=[SHOP], p3=[SHOP]) == [
        ("3 clusters: environment production", ("p1", "p2", "p3"), ["shop"])
    ]
    assert grouped(p1=[SHOP], p3=[SHOP])[0][0] == "2 clusters: region=eu"
    assert grouped(d1=[SHOP], s1=[SHOP], s2=[SHOP])[0][0] == "3 clusters: environments dev, staging"
    assert grouped(d1=[SHOP])[0][0] == "cluster d1"
    assert grouped(p1=[SHOP], s1=[SHOP])[0][0] == "2 clusters: p1, s1"
    assert grouped(**{each.name: [SHOP] for each in CLUSTERS})[0][0] == "all 6 clusters"
    assert grouped(d1=[SHOP], p1=[SHOP], p2=[SHOP], s1=[SHOP])[0][0] == "4 clusters: d1, p1, p2 and 1 more"


def test_workloads_with_the_same_clusters_are_one_group() -> None:
    assert grouped(p1=[SHOP, LOGS], p2=[SHOP, LOGS], d1=[SHOP_TOO, LOGS]) == [
        ("3 clusters: d1, p1, p2", ("d1", "p1", "p2"), ["logs"]),
        ("2 clusters: p1, p2", ("p1", "p2"), ["shop"]),
        ("cluster d1", ("d1",), ["shop"]),
    ]


def test_values_of_variables_are_counted_and_the_most_frequent_come_first() -> None:
    groups = Groups()
    changed = change("shop", b"1", variables=("tier",))
    for number in range(30):
        value = "small" if number < 15 else f"own-{number}"
        groups.add(seen(f"c{number:02}", "dev"), [Placed(changed, (VariableChange("tier", None, value),))])
    (group,) = groups.groups()
    (told,) = group.workloads[0].variables
    assert told.values[0] == (None, "small", 15)
    assert (len(told.values), told.more) == (10, 6)


def test_findings_alone_are_no_change() -> None:
    groups = Groups()
    finding = Finding(Reason.NOT_BUILT, Severity.ERROR, "it does not build")
    groups.add(CLUSTERS[0], [Placed(change("shop", b"1", action=Action.SAME, findings=(finding,)))])
    groups.add(CLUSTERS[1], [Placed(LOGS)])
    assert groups.changed == {"p1"}
    assert groups.findings() == {Severity.ERROR: 1}
    assert list(groups.moving()) == [("placement/logs", "p1")]
