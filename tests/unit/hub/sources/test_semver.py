from __future__ import annotations

import pytest

from felloe.errors import ConfigError
from hub.sources.semver import Range, Version, newest_tag


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=1.0.0", ["1.0.0", "1.0.1", "9.9.9"], ["0.9.9", "1.0.0-rc.1", "2.0.0-rc.1"]),
        ("1.x", ["1.0.0", "1.9.9"], ["0.9.9", "2.0.0", "1.5.0-beta"]),
        ("1", ["1.0.0", "1.9.9"], ["2.0.0"]),
        ("1.2", ["1.2.0", "1.2.9"], ["1.3.0"]),
        ("v1.2.3", ["1.2.3"], ["1.2.4"]),
        ("~1.2", ["1.2.0", "1.2.9"], ["1.3.0", "1.1.9"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.2.2", "1.3.0"]),
        ("~1", ["1.0.0", "1.9.0"], ["2.0.0"]),
        ("~>1.2.3", ["1.2.4"], ["1.3.0"]),
        ("^1.2", ["1.2.0", "1.9.0"], ["1.1.0", "2.0.0"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("^0.0", ["0.0.0", "0.0.9"], ["0.1.0"]),
        ("^0", ["0.0.0", "0.9.0"], ["1.0.0"]),
        (">=1.2 <2", ["1.2.0", "1.99.0"], ["2.0.0", "1.1.9"]),
        (">= 1.2, < 2.0.0", ["1.2.0"], ["2.0.0"]),
        ("1.2 - 1.4.5", ["1.2.0", "1.4.5"], ["1.4.6", "1.1.0"]),
        ("<1 || >=3.0.0", ["0.9.0", "3.0.0"], ["1.0.0", "2.9.9"]),
        ("!=1.2.x >=1.0.0", ["1.1.0", "1.3.0"], ["1.2.0", "1.2.9"]),
        ("!=1.2.3", ["1.2.4"], ["1.2.3"]),
        (">1", ["2.0.0"], ["1.0.0", "1.9.9"]),
        (">1.1", ["1.2.0", "2.0.0"], ["1.1.5"]),
        ("<=1.2", ["1.2.9", "0.1.0"], ["1.3.0"]),
        ("*", ["0.0.0", "9.1.2"], ["1.0.0-rc.1"]),
        (">=1.0.0-0", ["1.0.0-rc.1", "1.5.0-beta", "1.0.0"], ["0.9.9"]),
        (">=1.0.0-alpha <1.0.0-beta", ["1.0.0-alpha.7"], ["1.0.0-beta", "1.0.0"]),
    ],
)
def test_a_range_means_what_flux_means(text: str, inside: list[str], outside: list[str]) -> None:
    wanted = Range.parse(text)
    for candidates, expected in ((inside, True), (outside, False)):
        for candidate in candidates:
            version = Version.parse(candidate)
            assert version is not None
            assert wanted.matches(version) is expected, candidate


@pytest.mark.parametrize("text", ["", "banana", ">=", "1.2.3.4", ">=1 &&", "1.2 ||", "latest", "1" * 300, ">1>2"])
def test_what_is_no_range_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match="semver range"):
        Range.parse(text)


def test_versions_are_ordered_as_semver_org_says() -> None:
    texts = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    texts += ["1.0.0-rc.1", "1.0.0", "1.0.1", "1.10.0", "2.0.0"]
    versions = [version for text in texts if (version := Version.parse(text))]
    assert len(versions) == len(texts)
    versions.reverse()
    assert sorted(versions) == versions[::-1]


def test_the_newest_tag_is_the_greatest_version_and_other_tags_do_not_count() -> None:
    tags = ["v1.2.0", "1.10.0", "v1.9.0", "nightly", "v2.0.0", "1.11", "v1.10.1-rc.1", "01.2.3"]
    assert newest_tag(tags, Range.parse("1.x")) == "1.10.0"
    assert newest_tag(tags, Range.parse("3.x")) is None
    assert newest_tag(["1.0.0+a", "1.0.0+b"], Range.parse("*")) == "1.0.0+b"
