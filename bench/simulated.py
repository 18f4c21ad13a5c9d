"""A simulated fleet: as many clusters as wanted, 200 Placements, 50 labels each, and Git in memory.

Every cluster is in one of three environments and has a role, a region and a team that Placements select by, a few flags
that more Placements select by, and labels that nothing selects by. A workload is an overlay for each environment with
ten objects; one of them is a template that uses the cluster's name. A cluster gets about 25 workloads.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from felloe.identity import object_id
from felloe.k8syaml import JsonValue
from hub.render.objects import RenderedObject
from hub.render.render import Rendered
from hub.sources.tree import EntryKind, TreeEntry
from hub.targeting import RenderWant

PLACEMENTS = 200
LABELS = 50
OBJECTS = 10
ENVIRONMENTS = ("dev", "staging", "production")
ROLES, REGIONS, TEAMS, FLAGS = 10, 12, 20, 8
FOR_ALL = 8
"""Placements that mean every cluster."""


@dataclass(frozen=True)
class Tree:
    """A commit in memory: a folder's content is a text of its own, and nothing but the fleet folder is ever read."""

    fleet: str
    versions: Mapping[str, int]
    revision: str
    folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def entry(self, path: str) -> TreeEntry | None:
        """Return what is at a path."""
        name = path.rpartition("/")[2]
        if path == "fleet/fleet.yaml":
            return TreeEntry(name, EntryKind.FILE, f"{len(self.fleet)}")
        if path == "fleet" or path in self.versions:
            return TreeEntry(name, EntryKind.DIRECTORY, f"{path} {self.versions.get(path, len(self.fleet))}")
        return None

    def list(self, path: str) -> Sequence[TreeEntry]:
        """Return what is in a folder."""
        names = {"": ("fleet", "apps"), "fleet": ("fleet.yaml",)}.get(path, ())
        entries = (self.entry(f"{path}/{name}" if path else name) for name in names)
        return [entry for entry in entries if entry is not None]

    def read(self, entry: TreeEntry) -> bytes:
        """Return the fleet."""
        return self.fleet.encode()


class Renders:
    """What overlays render to: made once for each version of a folder, as the hub's renderer does."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, int], Rendered] = {}

    def render(self, want: RenderWant, tree: Tree) -> Rendered:
        """Return the objects of an overlay."""
        version = tree.versions[want.path]
        if (want.path, version) not in self._made:
            objects = tuple(self._objects(want.path, version))
            key = hashlib.sha256(f"{want.path} {version}".encode()).hexdigest()
            self._made[want.path, version] = Rendered(key, objects, frozenset())
        return self._made[want.path, version]

    def _objects(self, path: str, version: int) -> Iterator[RenderedObject]:
        app = path.split("/")[1]
        for number in range(OBJECTS):
            data: dict[str, JsonValue] = {"version": str(version), "text": "x" * 100}
            if number == 0:
                data["cluster"] = "${cluster_name} in ${region}, ${replicas} times"
            manifest: dict[str, JsonValue] = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"{app}-{number}", "namespace": app},
                "data": data,
            }
            yield RenderedObject(object_id(manifest), manifest, f"{path}/{number}.yaml")


def labels(number: int) -> dict[str, str]:
    """Return the labels of a cluster; the same number has the same ones."""
    chance = random.Random(number)
    found = {
        "env": chance.choices(ENVIRONMENTS, (1, 2, 7))[0],
        "role": f"role-{chance.randrange(ROLES)}",
        "region": f"region-{chance.randrange(REGIONS)}",
        "team": f"team-{chance.randrange(TEAMS)}",
    }
    found |= {f"flag-{flag}": "on" for flag in range(FLAGS) if chance.random() < 0.3}
    for more in range(LABELS - len(found)):
        found[f"example.com/label-{more}"] = f"value-{chance.randrange(1000)}"
    return found


def names(count: int) -> list[str]:
    """Return the names of clusters."""
    return [f"cluster-{number:06}" for number in range(count)]


def fleet(*, replicas: int = 1) -> str:
    """Return the fleet folder: environments, and a Kustomization with a Placement for every app."""
    found = [
        f"""
apiVersion: fleet.felloe.io/v1alpha1
kind: Environment
metadata: {{name: {name}}}
spec: {{clusterSelector: {{matchLabels: {{env: {name}}}}}, variables: {{replicas: "{replicas}"}}}}
"""
        for name in ENVIRONMENTS
    ]
    for number, selector in enumerate(_selectors()):
        found.append(
            f"""
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {app(number)}, namespace: flux-system}}
spec: {{interval: 10m, prune: true, path: "./apps/{app(number)}/${{cluster_env}}",
  sourceRef: {{kind: GitRepository, name: flux-system}}}}
---
apiVersion: fleet.felloe.io/v1alpha1
kind: Placement
metadata: {{name: {app(number)}}}
spec: {{{selector}, workloads: [{{kind: Kustomization, name: {app(number)}, namespace: flux-system}}]}}
"""
        )
    return "---".join(found)


def app(number: int) -> str:
    """Return the name of an app; the first ones are for all clusters."""
    return f"app-{number:03}"


def _selectors() -> Iterator[str]:
    for number in range(PLACEMENTS):
        if number < FOR_ALL:
            yield f"environments: [{', '.join(ENVIRONMENTS)}]"
        elif number % 4 == 0:
            yield f"clusterSelector: {{matchLabels: {{role: role-{number % ROLES}}}}}"
        elif number % 4 == 1:
            yield f"clusterSelector: {{matchLabels: {{team: team-{number % TEAMS}}}}}"
        elif number % 4 == 2:
            regions = ", ".join(f"region-{(number + more) % REGIONS}" for more in range(2))
            yield f"clusterSelector: {{matchExpressions: [{{key: region, operator: In, values: [{regions}]}}]}}"
        else:
            role = f"{{key: role, operator: NotIn, values: [role-{number % ROLES}]}}"
            flag = f"{{key: flag-{number % FLAGS}, operator: Exists}}"
            yield f"clusterSelector: {{matchExpressions: [{flag}, {role}]}}"


def folders() -> dict[str, int]:
    """Return every overlay, at its first version."""
    return {f"apps/{app(number)}/{name}": 1 for number in range(PLACEMENTS) for name in ENVIRONMENTS}
