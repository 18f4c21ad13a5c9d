from __future__ import annotations

import pytest

from felloe.errors import ConfigError
from hub.fleet.selector import parse_selector

LABELS = {"env": "prod", "tier": "web", "felloe.io/zone": "a", "empty": "", "version": "1.34"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("env=prod", True),
        ("env==prod, tier = web", True),
        ("env=dev", False),
        ("env!=dev", True),
        ("missing!=x", True),
        ("env in (dev, prod)", True),
        ("env in (dev,stage),tier=web", False),
        ("env notin (dev)", True),
        ("missing notin (a)", True),
        ("env", True),
        ("!env", False),
        ("!missing", True),
        ("felloe.io/zone=a", True),
        ("empty=", True),
        ("empty in ()", True),
        ("version>=1.34,tier=web", True),
        ("version > 1.33", True),
        ("version<v1.34.0", False),
        ("version<=1.9", False),
        ("env>1", False),
        ("missing<1", False),
    ],
)
def test_a_selector_means_what_it_means_to_kubectl(text: str, matches: bool) -> None:
    assert parse_selector(text)(LABELS) is matches


@pytest.mark.parametrize(
    "text", ["=prod", "env in prod", "env in (a", "a b", "env>b", "env>=", "env=a b", ",", "a=b,,c=d"]
)
def test_what_is_no_selector_is_refused_with_its_grammar(text: str) -> None:
    with pytest.raises(ConfigError, match="label selector"):
        parse_selector(text)


def test_a_selector_that_would_hold_up_the_hub_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="at most 4096"):
        parse_selector("," * 60_000)
