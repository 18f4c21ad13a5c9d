"""How a new release goes through the clusters of a placement: what a Rollout says, and an Environment's promotesFrom.

Facts only, checked and with defaults filled in; `hub.rollout` acts by them. Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from felloe.errors import Place
from hub.fleet.labels import LabelSelector


class Offline(StrEnum):
    """What becomes of a cluster that is not connected."""

    SKIP = "Skip"
    """It is passed over until it comes back; but a stage is not done on account of clusters that are all offline."""
    WAIT = "Wait"
    """Its stage waits for it, without a timeout."""
    FAIL = "Fail"
    """It is given the release like any other, and fails when it is not healthy with it in time."""


class OnFailure(StrEnum):
    """What follows when more of a stage's clusters failed than may."""

    PAUSE = "Pause"
    CONTINUE = "Continue"
    ROLL_BACK_STAGE = "RollBackStage"
    """The clusters of this stage go back to what they last had healthy, and the rollout has failed."""
    ROLL_BACK = "RollBack"
    """All clusters that took the release do."""


class OnNewRelease(StrEnum):
    """What a newer release does to a rollout that is not over."""

    SUPERSEDE = "Supersede"
    """The newer one takes its place at once; what is the same in both need not be done again."""
    QUEUE = "Queue"
    """Every release waits for its turn."""
    FINISH = "Finish"
    """The one under way goes to its end, and then the newest one follows; those in between are left out."""


class OrderBy(StrEnum):
    """By what the clusters of a stage are lined up."""

    NAME = "Name"
    LABEL = "Label"
    RANDOM = "Random"


@dataclass(frozen=True, slots=True)
class Share:
    """A number of clusters, or a percentage of some."""

    count: int = 0
    percent: float | None = None

    def limit(self, total: int) -> int:
        """Return it as a limit for `total` clusters: rounded down as Kubernetes' maxUnavailable, but at least 1."""
        wanted = self.count if self.percent is None else int(total * self.percent / 100.0)
        return max(1, wanted)

    def part(self, total: int) -> int:
        """Return it as a part of `total` clusters: rounded up, at least 1 and at most all of them."""
        wanted = self.count if self.percent is None else -int(-(total * self.percent) // 100.0)
        return min(total, max(1, wanted))


@dataclass(frozen=True, slots=True)
class Order:
    """How clusters are lined up: by name, by the value of `label` (then name), or at random with a seed."""

    by: OrderBy = OrderBy.NAME
    label: str = ""
    seed: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalGate:
    """A person lets it go on."""

    name: str


@dataclass(frozen=True, slots=True)
class HttpGate:
    """A GET to `url` is answered with one of `statuses` and, where it is given, a body that `contains` a text.

    `timeout` is that of one request; asked again every `interval` until it passes, at most `patience` long. `secret`
    names one of those kept for gates (`hub.gates.NAMESPACE`), shown to `url` as HTTP authorization.
    """

    name: str
    url: str
    statuses: tuple[int, ...] = (200,)
    contains: str = ""
    timeout: float = 10.0
    interval: float = 30.0
    patience: float = 3600.0
    secret: str = ""


@dataclass(frozen=True, slots=True)
class PrometheusGate:
    """An instant query of a Prometheus at `url`: each sample is to `threshold` as `operator` says.

    `operator` is one of ``< <= > >= == !=``. A result without samples does not pass, unless `empty_passes`. The rest is
    as in `HttpGate`.
    """

    name: str
    url: str
    query: str
    operator: str
    threshold: float
    empty_passes: bool = False
    timeout: float = 10.0
    interval: float = 30.0
    patience: float = 3600.0
    secret: str = ""


Gate = ApprovalGate | HttpGate | PrometheusGate


@dataclass(frozen=True, slots=True)
class Window:
    """When clusters may move: for `duration` from each time that `schedule` (cron) names in `zone`."""

    schedule: str
    duration: float
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Freeze:
    """Days (ISO 8601, both included) on which nothing moves, in `zone`."""

    first: str
    last: str
    zone: str = "UTC"


DEFAULT_TIMEOUT: Final = 900.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a rollout: which clusters, how many at a time, and what has to hold before the next one begins.

    Its clusters are those that no earlier stage has and that all of `selector`, `environments` and `clusters` mean
    (where given); of those, the first by `order`, as many as `share` says (a percentage: of all that it means). `gates`
    have to pass before it begins; `soak` is how long all of it stays healthy before it is done. A cluster that is not
    healthy `timeout` after it was given the release has failed.
    """

    name: str
    selector: LabelSelector | None = None
    environments: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    share: Share | None = None
    max_concurrent: Share | None = None
    max_unavailable: Share | None = None
    max_failures: int = 0
    order: Order = field(default_factory=Order)
    soak: float = 0.0
    gates: tuple[Gate, ...] = ()
    timeout: float = DEFAULT_TIMEOUT
    on_failure: OnFailure = OnFailure.PAUSE


@dataclass(frozen=True, slots=True)
class Strategy:
    """A Rollout: stages in order (clusters that none of them means come last, in one of their own).

    `on_revert` names the strategy for a commit that ``git revert`` made, empty for this one.
    """

    name: str
    stages: tuple[Stage, ...] = ()
    windows: tuple[Window, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    offline: Offline = Offline.SKIP
    on_new_release: OnNewRelease = OnNewRelease.SUPERSEDE
    on_revert: str = ""
    place: Place = field(default_factory=Place, compare=False)


class Forge(StrEnum):
    """Whose API a pull request is opened by."""

    GITHUB = "GitHub"
    GITLAB = "GitLab"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """Where a promotion is proposed instead of pushed: `secret` holds a token; an empty `api` is derived."""

    forge: Forge
    secret: str
    api: str = ""


DEFAULT_AUTHOR: Final = ("Felloe", "felloe@localhost")


@dataclass(frozen=True, slots=True)
class GitPromotion:
    """A promotion that is made in Git: `branch` gets what was verified, and clusters follow that branch or folder.

    Without folders `branch` is fast-forwarded to the verified commit. With both, a commit on `branch` makes `to_folder`
    what `from_folder` was at the verified commit. `source` is a GitRepository, by namespace and name (None: the fleet
    repository). `secret` names one of those kept for promotion (empty: the source's own pushes); `author` is name and
    mail address.
    """

    branch: str
    source: tuple[str, str] | None = None
    from_folder: str = ""
    to_folder: str = ""
    pull_request: PullRequest | None = None
    secret: str = ""
    author: tuple[str, str] = DEFAULT_AUTHOR


@dataclass(frozen=True, slots=True)
class Promotion:
    """What an Environment's promotesFrom says: from where, after how long of health there, and whether one approves.

    With `git` a commit promotes, and the environment's clusters get every release at once, as their sources have it.
    """

    environment: str
    soak: float = 0.0
    approval: bool = False
    git: GitPromotion | None = None


EVERYWHERE_AT_ONCE: Final = Strategy(
    "", (Stage("all", timeout=float("inf"), on_failure=OnFailure.CONTINUE),), offline=Offline.SKIP
)
"""What holds where nobody names a Rollout."""
