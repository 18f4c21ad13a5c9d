from __future__ import annotations

import pytest

from hub.fleet import Fleet, FleetError, load_fleet
from hub.fleet.strategy import Forge, GitPromotion, Promotion, PullRequest
from tests.unit.hub.targeting.world import MemoryTree

FLEET = """
apiVersion: fleet.felloe.io/v1alpha1
kind: Environment
metadata: {{name: dev}}
spec: {{clusterSelector: {{matchLabels: {{env: dev}}}}}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: shop, namespace: flux-system}}
spec: {{url: https://git.example/shop.git, interval: 1m}}
---
apiVersion: fleet.felloe.io/v1alpha1
kind: Environment
metadata: {{name: staging}}
spec:
  clusterSelector: {{matchLabels: {{env: staging}}}}
  promotesFrom: {promotes_from}
"""


def load(promotes_from: str) -> Fleet:
    return load_fleet(MemoryTree({"fleet/a.yaml": FLEET.format(promotes_from=promotes_from)}), "fleet")


def test_a_branch_that_follows() -> None:
    fleet = load("{environment: dev, soak: 1h, git: {branch: env/staging}}")
    assert fleet.environments["staging"].promotes_from == Promotion("dev", 3600, git=GitPromotion("env/staging"))


def test_a_folder_that_is_copied_by_a_pull_request() -> None:
    fleet = load(
        "{environment: dev, git: {source: {name: shop, namespace: flux-system}, branch: main, from: ./envs/dev/,"
        " to: envs/staging, secretRef: {name: writer}, author: {name: Ada, email: ada@example.com},"
        " pullRequest: {forge: GitLab, api: 'https://git.example/api/v4', secretRef: {name: token}}}}"
    )
    assert fleet.environments["staging"].promotes_from == Promotion(
        "dev",
        git=GitPromotion(
            "main",
            source=("flux-system", "shop"),
            from_folder="envs/dev",
            to_folder="envs/staging",
            pull_request=PullRequest(Forge.GITLAB, "token", "https://git.example/api/v4"),
            secret="writer",
            author=("Ada", "ada@example.com"),
        ),
    )


@pytest.mark.parametrize(
    ("git", "says"),
    [
        ("{}", "git.branch: is required and missing"),
        ("{branch: 'a b'}", "git.branch: branch 'a b' is no valid Git ref"),
        ("{branch: --force}", "git.branch: branch '--force' is no valid Git ref"),
        ("{branch: main, from: a}", "git: from and to belong together"),
        ("{branch: main, to: a}", "git: from and to belong together"),
        ("{branch: main, from: a, to: a}", "git.to: a and a must not be in each other"),
        ("{branch: main, from: a, to: a/b}", "git.to: a/b and a must not be in each other"),
        ("{branch: main, from: a/b/c, to: a/b}", "git.to: a/b and a/b/c must not be in each other"),
        ("{branch: main, from: ../a, to: b}", "git.from: '../a' is no folder below the top"),
        ("{branch: main, from: a, to: /b}", "git.to: '/b' is no folder below the top"),
        ("{branch: main, from: a, to: .git/hooks}", "git.to: '.git/hooks' is no folder below the top"),
        ("{branch: main, source: {name: other}}", "git.source: there is no GitRepository default/other"),
        ("{branch: main, author: {name: 'a <b>', email: x}}", "git.author.name: 'a <b>' can't stand in a commit"),
        ("{branch: main, author: {name: a}}", "git.author.email: is required and missing"),
        ("{branch: main, pullRequest: {forge: GitHub}}", "git.pullRequest.secretRef: is required and missing"),
        (
            "{branch: main, pullRequest: {forge: Gitea, secretRef: {name: x}}}",
            "git.pullRequest.forge: must be one of GitHub, GitLab",
        ),
        (
            "{branch: main, pullRequest: {forge: GitHub, secretRef: {name: x}, api: 'https://u:s3cret@x'}}",
            "git.pullRequest.api: 'https://x': the URL holds credentials",
        ),
    ],
)
def test_what_a_promotion_in_git_can_not_be_is_told_with_its_field(git: str, says: str) -> None:
    with pytest.raises(FleetError) as raised:
        load(f"{{environment: dev, git: {git}}}")
    assert says in str(raised.value)
    assert "s3cret" not in str(raised.value)
