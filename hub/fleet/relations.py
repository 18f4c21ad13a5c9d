"""What the objects of a fleet say of each other: every name must be there, and nothing may go in a circle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from felloe.errors import ConfigError, Place
from felloe.identity import WorkloadId
from hub.fleet.model import Environment, Fleet, Placement
from hub.fleet.schema import did_you_mean
from hub.fleet.strategy import Strategy


def relation_mistakes(fleet: Fleet) -> Iterator[ConfigError]:
    """Yield every name that the fleet has nothing of, and every circle, with the field that says it."""
    unsupported = {WorkloadId(each.kind, each.namespace, each.name) for each in fleet.unsupported}
    workloads = {str(each): each for each in {*fleet.kustomizations, *unsupported}}
    for placement in fleet.placements.values():
        yield from _of_placement(placement, fleet, workloads)
    for environment in fleet.environments.values():
        yield from _of_environment(environment, fleet)
    for strategy in fleet.strategies.values():
        yield from _of_strategy(strategy, fleet)
    promotions = {
        each.name: each.promotes_from.environment for each in fleet.environments.values() if each.promotes_from
    }
    for circle in _circles(promotions):
        place = fleet.environments[circle[0]].place
        message = f"Environments promote in a circle: {' ← '.join(circle)}; one of them has to be the first"
        yield _error(place, "spec.promotesFrom", message)
    reverts = {each.name: each.on_revert for each in fleet.strategies.values() if each.on_revert}
    for circle in _circles(reverts):
        place = fleet.strategies[circle[0]].place
        yield _error(place, "spec.onRevert", f"goes in a circle: {' → '.join(circle)}; leave it out of the fastest one")


def _of_placement(placement: Placement, fleet: Fleet, workloads: Mapping[str, WorkloadId]) -> Iterator[ConfigError]:
    place = placement.place
    for index, workload in enumerate(placement.workloads):
        if str(workload) not in workloads:
            hint = did_you_mean(str(workload), workloads)
            yield _error(place, f"spec.workloads[{index}]", f"there is no {workload} in the fleet folder; {hint}")
        elif workload in placement.workloads[:index]:
            yield _error(place, f"spec.workloads[{index}]", f"{workload} is there twice; remove one")
    yield from _environments(place, "spec", placement.environments, fleet)
    for index, override in enumerate(placement.overrides):
        yield from _environments(place, f"spec.overrides[{index}]", override.environments, fleet)
    yield from _rollout(place, "spec.rollout", placement.rollout, fleet)


def _of_environment(environment: Environment, fleet: Fleet) -> Iterator[ConfigError]:
    yield from _rollout(environment.place, "spec.rollout", environment.rollout, fleet)
    above = environment.promotes_from.environment if environment.promotes_from else ""
    if above and above not in fleet.environments:
        hint = did_you_mean(above, fleet.environments)
        yield _error(environment.place, "spec.promotesFrom", f"there is no Environment {above}; {hint}")
    git = environment.promotes_from.git if environment.promotes_from else None
    if git and git.source and git.source not in fleet.repositories:
        hint = did_you_mean("/".join(git.source), map("/".join, fleet.repositories))
        message = f"there is no GitRepository {'/'.join(git.source)} in the fleet folder; {hint}"
        yield _error(environment.place, "spec.promotesFrom.git.source", message)


def _of_strategy(strategy: Strategy, fleet: Fleet) -> Iterator[ConfigError]:
    yield from _rollout(strategy.place, "spec.onRevert", strategy.on_revert, fleet)
    for index, stage in enumerate(strategy.stages):
        yield from _environments(strategy.place, f"spec.stages[{index}]", stage.environments, fleet)


def _environments(place: Place, path: str, names: Iterable[str], fleet: Fleet) -> Iterator[ConfigError]:
    for index, name in enumerate(names):
        if name not in fleet.environments:
            hint = did_you_mean(name, fleet.environments)
            yield _error(place, f"{path}.environments[{index}]", f"there is no Environment {name}; {hint}")


def _rollout(place: Place, field: str, name: str, fleet: Fleet) -> Iterator[ConfigError]:
    if name and name not in fleet.strategies:
        yield _error(place, field, f"there is no Rollout {name}; {did_you_mean(name, fleet.strategies)}")


def _circles(next_of: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Yield every circle once, from its first name by the alphabet back to it."""
    for start in sorted(next_of):
        way = [start]
        while (following := next_of.get(way[-1])) is not None and following not in way:
            way.append(following)
        if following == start and start == min(way):
            yield (*way, start)


def _error(place: Place, field: str, message: str) -> ConfigError:
    return ConfigError(message, Place(place.file, place.object, field))
