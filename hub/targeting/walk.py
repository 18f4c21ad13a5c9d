"""Follow one cluster's workloads from its roots down: source, overlay, objects, and the workloads among the objects.

The walk decides about each workload by itself; what workloads have against each other (dependencies, objects that two
claim) is decided in `hub.targeting.resolve`, which walks again with what it put on hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from felloe.bundle import ApplyOptions, Entry, Workload
from felloe.digest import Digest
from felloe.errors import ConfigError, Place, RenderError, SubstitutionError
from felloe.identity import ObjectId, WorkloadId, object_id
from felloe.substitute import substitute, substitute_text
from hub.fleet import GitRepository, Kustomization, UnsupportedObject
from hub.fleet.document import DEFAULT_NAMESPACE
from hub.fleet.flux import KUSTOMIZE_GROUP, SOURCE_GROUP
from hub.render.objects import RenderedObject
from hub.render.render import Rendered
from hub.sources.spec import GitSpec
from hub.targeting.ignoring import ignoring
from hub.targeting.inputs import Inputs, RenderWant, Snapshot
from hub.targeting.overriding import changes_of, culprit, overridden, variables_of
from hub.targeting.paths import folder_of, is_empty_on_purpose, is_folder
from hub.targeting.plan import PLACEMENT_ORIGIN, PROGRESSING, READY, Condition
from hub.targeting.prepare import FleetPart, Prepared, RenderCache, entries_for, read_part
from hub.targeting.roots import Definition
from hub.targeting.sourcing import Sources
from hub.targeting.stopping import ARTIFACT_FAILED, BUILD_FAILED, NOT_SUPPORTED, Stop, at
from hub.targeting.variables import Seen
from hub.targeting.words import selection


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one workload: a new version (`workload`), or why there is none (`hold`, or `suspended`)."""

    definition: Definition
    source: str = ""
    path: str = ""
    attempted: str = ""
    workload: Workload | None = None
    blobs: Mapping[Digest, bytes] = field(default_factory=dict)
    hold: Condition | None = None
    suspended: bool = False
    unsupported: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Trail:
    """What is known of a workload while it is worked on."""

    source: str = ""
    path: str = ""
    attempted: str = ""
    unsupported: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Walk:
    """One pass over one cluster; `holds` are workloads of which no new version is to be made."""

    def __init__(self, inputs: Inputs, view: Seen, cache: RenderCache, holds: Mapping[WorkloadId, Condition]) -> None:
        self.outcomes: dict[WorkloadId, Outcome] = {}
        self.definitions: dict[WorkloadId, Definition] = {}
        self.conflicts: dict[WorkloadId, list[str]] = {}
        self.claims: dict[WorkloadId, tuple[str, ...]] = {}
        self.wanted_renders: dict[RenderWant, None] = {}
        self.sources = Sources(inputs)
        self._inputs = inputs
        self._view = view
        self._cache = cache
        self._holds = holds
        self._waiting: list[WorkloadId] = []
        self._adopted = False

    @property
    def shares(self) -> bool:
        """Tell whether it met what the workloads of other roots may refer to: the GitRepositories of a cluster."""
        return bool(self.sources.met)

    def run(self, roots: tuple[Definition, ...]) -> None:
        """Decide about every workload that can be reached from the roots.

        A workload waits until its GitRepository has been met; only when nothing goes on otherwise does the fleet folder
        answer for a name, so that the order of the walk doesn't decide which of two repositories is meant.
        """
        for root in roots:
            self._define(root)
        while self._waiting:
            if not self._round(fleet=False) and not self._round(fleet=True):
                for waiting in self._waiting:
                    self._decide_without_source(self.definitions[waiting])
                self._waiting.clear()

    # --- one workload -------------------------------------------------------------------------------------------------

    def _define(self, definition: Definition) -> None:
        known = self.definitions.get(definition.id)
        if known is None:
            self.definitions[definition.id] = definition
            self._waiting.append(definition.id)
        elif known.origin != definition.origin:
            claims = (*self.claims.get(definition.id, (known.origin,)), definition.origin)
            self.claims[definition.id] = tuple(dict.fromkeys(claims))
        elif known.kustomization != definition.kustomization or known.templated != definition.templated:
            where = f"{definition.parent or definition.origin}"
            self.conflicts.setdefault(definition.id, []).append(
                f"{where} defines it as well and differently; what {known.parent or known.origin} says counts"
            )

    def _round(self, *, fleet: bool) -> bool:
        before = list(self._waiting)
        for waiting in before:
            if self._step(self.definitions[waiting], fleet=fleet):
                self._waiting.remove(waiting)
        return len(before) != len(self._waiting) or before != self._waiting

    def _step(self, definition: Definition, *, fleet: bool) -> bool:
        """Decide about one workload, if its source is known by now."""
        trail = _Trail()
        if definition.withheld:
            self._record(definition, trail)
            return True
        try:
            kustomization = self._admitted(definition, trail)
            if kustomization.suspend or definition.id in self._inputs.suspended:
                self._record(definition, trail, suspended=True)
                return True
            source = self.sources.of(definition, kustomization.source, fleet=fleet, adopted=self._adopted)
            if source is None:
                return False
            self._finish(definition, kustomization, source, trail)
        except Stop as stop:
            self._record(definition, trail, hold=stop.condition)
        return True

    def _record(
        self,
        definition: Definition,
        trail: _Trail,
        *,
        made: tuple[Workload, Mapping[Digest, bytes]] | None = None,
        hold: Condition | None = None,
        suspended: bool = False,
    ) -> None:
        self.outcomes[definition.id] = Outcome(
            definition,
            trail.source,
            trail.path,
            trail.attempted,
            workload=made[0] if made else None,
            blobs=made[1] if made else {},
            hold=hold,
            suspended=suspended,
            unsupported=tuple(trail.unsupported),
            notes=tuple(trail.notes),
        )

    def _decide_without_source(self, definition: Definition) -> None:
        source = definition.kustomization.source if definition.kustomization else "its source"
        message = (
            f"{source} is not there: neither among the objects of cluster {self._view.name} nor in the fleet folder; "
            "define it, or correct spec.sourceRef"
        )
        condition = Condition(READY, "False", ARTIFACT_FAILED, at(definition, "spec.sourceRef", message))
        self.outcomes[definition.id] = Outcome(definition, source=str(source), hold=condition)

    def _admitted(self, definition: Definition, trail: _Trail) -> Kustomization:
        """Return the Kustomization of a workload of which a new version may be made."""
        hold = definition.hold or self._holds.get(definition.id)
        kustomization = definition.kustomization
        if kustomization is not None:
            trail.source, trail.path = str(kustomization.source), self._path(definition, kustomization)
        if hold is not None or kustomization is None:
            held = hold or Condition(READY, "False", "InvalidConfiguration", "it is not defined")
            raise Stop(held.reason, held.message, held.status)
        for unsupported in kustomization.unsupported:
            if unsupported.holds:
                message = f"{unsupported.field} is not supported yet, and without it something else would be applied"
                raise Stop(NOT_SUPPORTED, at(definition, "", message))
            trail.unsupported.append(unsupported.field)
        return kustomization

    def _path(self, definition: Definition, kustomization: Kustomization) -> str:
        """Return the path with the cluster's variables, as far as they are known, for people to see."""
        if definition.templated:
            with suppress(SubstitutionError):
                return substitute_text(kustomization.path, self._variables(definition), "spec.path")
        return kustomization.path

    # --- from a source to objects -------------------------------------------------------------------------------------

    def _finish(
        self, definition: Definition, kustomization: Kustomization, source: tuple[GitSpec, Snapshot], trail: _Trail
    ) -> None:
        spec, snapshot = source
        trail.attempted = snapshot.revision
        rendered = self._rendered(definition, kustomization, spec, snapshot, trail)
        trail.notes.extend(rendered.warnings)
        try:
            prepared = self._cache.prepare(rendered.key, rendered.objects, trail.path, templated=definition.templated)
            variables = self._variables(definition) if definition.templated else {}
            entries, blobs = entries_for(prepared, variables)
            children = [_filled_in(each, trail.path, variables) for each in prepared.fleet_parts]
        except SubstitutionError as error:
            message = f"{trail.path or '.'}: cluster {self._view.name}: {error}"
            raise Stop("SubstitutionFailed", at(definition, "", message)) from None
        except ConfigError as error:
            raise Stop(BUILD_FAILED, at(definition, "", f"{trail.path or '.'}: {error}")) from None
        if prepared.left_out:
            number = f"{prepared.left_out} object{'' if prepared.left_out == 1 else 's'}"
            trail.notes.append(f"left out {number}: Flux's own controllers and CRDs")
        if self._take_up(definition, children, trail):
            return
        workload = self._workload(definition, kustomization, (rendered.key, prepared, entries, blobs))
        self._record(definition, trail, made=(workload, blobs))

    def _rendered(
        self, definition: Definition, kustomization: Kustomization, spec: GitSpec, snapshot: Snapshot, trail: _Trail
    ) -> Rendered:
        path, namespace = kustomization.path, kustomization.target_namespace
        if definition.templated:
            try:
                path = substitute_text(path, self._variables(definition), "spec.path")
                namespace = substitute_text(namespace, self._variables(definition), "spec.targetNamespace")
            except SubstitutionError as error:
                message = at(definition, "", f"cluster {self._view.name}: {error}")
                raise Stop("SubstitutionFailed", message) from None
        trail.path = path
        folder = folder_of(path)
        if folder is None:
            raise Stop(ARTIFACT_FAILED, at(definition, "spec.path", f"{path!r} leads out of its source"))
        if not is_folder(snapshot.tree, folder):
            message = (
                f"there is no folder {path!r} in {trail.source} at {snapshot.revision}, so nothing was changed; "
                "correct the path, or to remove every object on purpose put a kustomization.yaml there that says "
                "`resources: []`"
            )
            raise Stop(ARTIFACT_FAILED, at(definition, "spec.path", message))
        want = RenderWant(spec, snapshot.revision, folder, namespace or None, changes_of(definition.overrides))
        result = self._render(want)
        if isinstance(result, RenderError):
            raise Stop(BUILD_FAILED, self._build_failure(definition, want, result))
        if result.empty and not is_empty_on_purpose(snapshot.tree, folder):
            message = (
                f"nothing renders from {path!r}, so nothing was changed; to remove every object on purpose, put a "
                "kustomization.yaml that says `resources: []` there"
            )
            raise Stop(BUILD_FAILED, at(definition, "", message))
        return result

    def _render(self, want: RenderWant) -> Rendered | RenderError:
        self.wanted_renders[want] = None
        result = self._inputs.renders.get(want)
        if result is None:
            raise Stop(PROGRESSING, f"{want.path or '.'} is being rendered at {want.revision}", "Unknown")
        return result

    def _build_failure(self, definition: Definition, want: RenderWant, error: RenderError) -> str:
        """Return why there is no build, and which override is to blame for it."""
        while isinstance(found := culprit(want, definition.overrides, self._inputs.renders), RenderWant):
            self._render(found)
        if found is None:
            return at(definition, "", str(error))
        placement = self._inputs.fleet.placements[definition.origin.removeprefix(PLACEMENT_ORIGIN)]
        place = Place(placement.place.file, placement.place.object, f"spec.overrides[{found.position}]")
        return f"{place}: does not apply on cluster {self._view.name} (it is for {selection(found.override)}): {error}"

    def _variables(self, definition: Definition) -> Mapping[str, str]:
        """Return the variables of what a Placement gives the cluster."""
        return overridden(self._view.variables, definition.overrides)

    def _workload(
        self,
        definition: Definition,
        kustomization: Kustomization,
        content: tuple[str, Prepared, tuple[Entry, ...], Mapping[Digest, bytes]],
    ) -> Workload:
        key, prepared, entries, blobs = content
        said = variables_of(definition.overrides)
        variables = self._view.values(prepared.variables - said.keys())
        variables |= {name: said[name] for name in prepared.variables & said.keys()}
        # Where an identity depends on the cluster, the entries do too, and their digests name them.
        own = tuple(each.digest for each in entries) if prepared.unnamed else ()
        name, options = (key, definition.templated, own, kustomization.ignore), self._options(kustomization)
        marked = partial(ignoring, entries, blobs, kustomization.ignore)
        return self._cache.workload(name, definition.id, options, marked, dict(sorted(variables.items())))

    def _options(self, kustomization: Kustomization) -> ApplyOptions:
        return ApplyOptions(
            prune=kustomization.prune,
            wait=kustomization.wait,
            timeout=kustomization.timeout,
            interval=kustomization.interval,
            retry_interval=kustomization.retry_interval,
            depends_on=kustomization.depends_on,
            health_checks=kustomization.health_checks,
            requested_at=self._inputs.requested_at.get(kustomization.id, ""),
            force=kustomization.force,
            deletion_policy=kustomization.deletion_policy,
            service_account=kustomization.service_account,
            health_check_exprs=kustomization.health_check_exprs,
            drift=kustomization.drift,
            prune_limit=kustomization.prune_limit,
            force_prune=kustomization.force_prune,
            labels=kustomization.labels,
        )

    # --- from objects to workloads ------------------------------------------------------------------------------------

    def _take_up(self, definition: Definition, children: list[FleetPart], trail: _Trail) -> bool:
        """Take up the fleet objects of a workload. Return True where it is to be looked at again, now with the
        definition of itself that it holds."""
        found: list[Definition] = []
        repositories: dict[tuple[str, str], GitRepository | ConfigError] = {}
        ancestors = self._ancestors(definition)
        for part in children:  # all of them first: what the workload says of itself may refer to any
            if isinstance(part.says, GitRepository):
                repositories[part.says.spec.namespace, part.says.spec.name] = part.says
        for part in children:
            each, parsed = part.rendered, part.says
            if isinstance(parsed, ConfigError):
                self._take_up_broken(definition, each, parsed, found, repositories, trail)
            elif isinstance(parsed, GitRepository):
                continue
            elif not isinstance(parsed, Kustomization):
                trail.unsupported.append(_not_taken_up(parsed, each))
            elif parsed.id == definition.id:
                if self._adopt(definition, parsed, repositories):
                    return True
            elif parsed.id in ancestors:
                message = f"it defines {parsed.id}, which it is itself a part of; take that out of {trail.path!r}"
                raise Stop("CircularDefinition", at(definition, "", message))
            else:
                found.append(Definition(parsed.id, definition.origin, parsed, parent=definition.id))
        trail.notes += self.sources.meet(repositories)
        for child in found:
            self._define(child)
        return False

    def _adopt(
        self,
        definition: Definition,
        own: Kustomization,
        repositories: Mapping[tuple[str, str], GitRepository | ConfigError],
    ) -> bool:
        """Let the root of a sync path say itself how it is applied, as Flux' bootstrap has it (gotk-sync.yaml)."""
        if not definition.is_sync_root or self._adopted or definition.kustomization is None:
            return False
        self._adopted = True
        # The sync path says where the cluster is configured, whatever path the bootstrap once wrote down.
        adopted = replace(definition, kustomization=replace(own, path=definition.kustomization.path))
        self.definitions[definition.id] = adopted
        self.sources.meet(repositories)
        self._waiting.append(definition.id)
        return True

    def _take_up_broken(
        self,
        definition: Definition,
        each: RenderedObject,
        error: ConfigError,
        found: list[Definition],
        repositories: dict[tuple[str, str], GitRepository | ConfigError],
        trail: _Trail,
    ) -> None:
        """Keep what a mistake is about apart from everything else that its parent defines."""
        identity: ObjectId = each.id
        namespace = identity.namespace or DEFAULT_NAMESPACE
        if (identity.group, identity.kind) == (KUSTOMIZE_GROUP, "Kustomization"):
            child = WorkloadId("Kustomization", namespace, identity.name)
            if child == definition.id:
                raise Stop("InvalidConfiguration", str(error))
            hold = Condition(READY, "False", "InvalidConfiguration", str(error))
            found.append(Definition(child, definition.origin, parent=definition.id, hold=hold))
        elif (identity.group, identity.kind) == (SOURCE_GROUP, "GitRepository"):
            repositories[namespace, identity.name] = error
        else:
            trail.unsupported.append(str(error))

    def _ancestors(self, definition: Definition) -> set[WorkloadId]:
        found: set[WorkloadId] = set()
        parent = definition.parent
        while parent is not None and parent not in found:
            found.add(parent)
            above = self.definitions.get(parent)
            parent = above.parent if above else None
        return found


def _filled_in(part: FleetPart, folder: str, variables: Mapping[str, str]) -> FleetPart:
    if part.says is not None:
        return part
    manifest = substitute(part.rendered.manifest, variables)
    filled = RenderedObject(object_id(manifest), manifest, part.rendered.file)
    return FleetPart(filled, read_part(filled, folder))


def _not_taken_up(parsed: object, each: RenderedObject) -> str:
    if isinstance(parsed, UnsupportedObject):
        return f"{parsed} ({each.file})" if each.file else str(parsed)
    return f"{each.id}: it belongs in the fleet folder (--fleet-path), not in a workload"
