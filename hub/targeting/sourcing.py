"""Which content the workloads of a cluster are made of: the GitRepositories that a walk meets, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping

from felloe.errors import ConfigError
from hub.fleet import Fleet, GitRepository, SourceRef
from hub.sources.spec import GitSpec
from hub.targeting.inputs import DeclaredSource, Inputs, Snapshot
from hub.targeting.plan import PROGRESSING, UNSUPPORTED, Condition
from hub.targeting.repositories import is_fleets_own, rewritten
from hub.targeting.roots import Definition
from hub.targeting.stopping import ARTIFACT_FAILED, NOT_SUPPORTED, Stop, at

RepositoryKey = tuple[str, str]
"""Namespace and name."""


class Sources:
    """The sources of one walk: `wanted` are to be fetched, `declared` is how each of them is declared."""

    def __init__(self, inputs: Inputs) -> None:
        self.wanted: dict[GitSpec, None] = {}
        self.declared: dict[GitSpec, DeclaredSource] = {}
        self.met: dict[RepositoryKey, GitRepository | ConfigError] = {}
        """The GitRepositories among the objects of the cluster; the first of a name counts."""
        self._inputs = inputs
        self._specs: dict[GitSpec, GitSpec] = {}

    def meet(self, repositories: Mapping[RepositoryKey, GitRepository | ConfigError]) -> list[str]:
        """Take up GitRepositories; return what is to be noted about them."""
        notes = []
        for key, repository in repositories.items():
            known = self.met.setdefault(key, repository)
            if known != repository and not (isinstance(known, ConfigError) and isinstance(repository, ConfigError)):
                notes.append(f"GitRepository {'/'.join(key)} is defined twice and differently; the first one counts")
        return notes

    def of(
        self, definition: Definition, source: SourceRef, *, fleet: bool, adopted: bool
    ) -> tuple[GitSpec, Snapshot] | None:
        """Return the source of a workload and its content, or None while its GitRepository has not been met.

        `fleet`: the fleet folder may answer for it. `adopted`: the sync path says itself what it is made of. Raise
        Stop where it can't be had.
        """
        if source.kind != "GitRepository":
            raise Stop(NOT_SUPPORTED, at(definition, "spec.sourceRef.kind", f"{source.kind} is not supported yet"))
        own = self._inputs.fleet_source
        if definition.is_sync_root and not adopted:
            return own, self._inputs.fleet_snapshot
        found = self._repository(source, self._inputs.fleet if fleet else None)
        if found is None:
            if (definition.is_sync_root or fleet) and (source.namespace, source.name) == (own.namespace, own.name):
                return own, self._inputs.fleet_snapshot
            return None
        if isinstance(found, ConfigError):
            raise Stop(ARTIFACT_FAILED, f"{source} can't be used: {found}")
        return self._snapshot(found)

    def _repository(self, source: SourceRef, fleet: Fleet | None) -> GitRepository | ConfigError | None:
        key = (source.namespace, source.name)
        return self.met.get(key) or (fleet.repositories.get(key) if fleet else None)

    def _snapshot(self, repository: GitRepository) -> tuple[GitSpec, Snapshot]:
        spec = self._specs.get(repository.spec) or self._meant(repository)
        self._specs[repository.spec] = spec
        content: Snapshot | str | None = self._inputs.snapshots.get(spec)
        if spec == self._inputs.fleet_source:
            content = self._inputs.fleet_snapshot
        name = f"GitRepository/{repository.spec.namespace}/{repository.spec.name}"
        holding = [each.field for each in repository.unsupported if each.holds]
        self.declared[repository.spec] = DeclaredSource(repository.spec, spec, _conditions(repository))
        if holding:
            message = f"{name} says {', '.join(holding)}, which is not supported yet"
            raise Stop(NOT_SUPPORTED, f"{repository.place}: {message}")
        if spec != self._inputs.fleet_source:
            self.wanted[spec] = None
        if isinstance(content, str):
            raise Stop(ARTIFACT_FAILED, f"{name}: {content}")
        if content is None:
            why = "is suspended and was never fetched" if spec.suspend else "is being fetched"
            raise Stop(PROGRESSING, f"{name} {why}", "Unknown")
        return spec, content

    def _meant(self, repository: GitRepository) -> GitSpec:
        if is_fleets_own(repository.spec, self._inputs):
            return self._inputs.fleet_source
        try:
            return rewritten(repository, self._inputs)
        except ConfigError as error:
            raise Stop(ARTIFACT_FAILED, str(error)) from None


def _conditions(repository: GitRepository) -> tuple[Condition, ...]:
    fields = ", ".join(each.field for each in repository.unsupported)
    if not fields:
        return ()
    return (Condition(UNSUPPORTED, "True", NOT_SUPPORTED, f"{repository.place}: not supported yet: {fields}"),)
