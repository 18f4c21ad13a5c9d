from __future__ import annotations

import pytest

from felloe.errors import ConfigError
from hub.sources.url import UrlRewriter, check_url, check_web_url, repository_identity, shown


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/org/fleet.git",
        "http://127.0.0.1:8080/fleet",
        "ssh://git@example.com:2222/org/fleet.git",
        "file:///srv/git/fleet.git",
        "https://[::1]:8443/fleet",
    ],
)
def test_urls_of_repositories_are_accepted(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("git@example.com:org/fleet.git", "write ssh://git@example.com/org/fleet.git"),
        ("example.com/org/fleet", "no URL"),
        ("git://example.com/fleet", "scheme 'git'"),
        ("ext::sh -c touch% /tmp/x", "no URL"),
        ("ext://sh", "scheme 'ext'"),
        ("ssh://-oProxyCommand=x/fleet", "no valid host"),
        ("ssh://-oX@example.com/fleet", "no valid host"),
        ("https://example.com/a'b", "quote"),
        ("https://example.com/a%27b", "quote"),
        ("https://example.com/a\nb", "control character"),
        ("https://example.com/a%0ab", "control character"),
        ("https://example.com/", "names no repository"),
        ("https://example.com/--upload-pack=x", "begins with '-'"),
        ("https://example.com:port/fleet", "no valid URL"),
        ("https://example.com/fleet?x=1", "no '\\?'"),
        ("file://host/srv/fleet", "three slashes"),
        ("https:///fleet", "no valid host"),
    ],
)
def test_what_could_be_an_option_a_quote_or_another_protocol_is_refused(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_url(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="secretRef") as caught:
        check_url("https://me:hunter2@example.com/fleet")
    assert "hunter2" not in str(caught.value)
    assert shown("https://me@example.com/fleet") == "https://example.com/fleet"


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@example.com:port/fleet",
        "https://me:hunter2@[::1/fleet",
        "https://hunter2@example.com/",
        "https://hunter2@example.com/a'b",
        "https://hunter2@/fleet",
        "me:hunter2@example.com/fleet",
        "me:hunter2@example.com:org/fleet",
        "ftp://me:hunter2@example.com/fleet",
    ],
)
def test_a_url_that_is_none_is_told_without_what_may_be_a_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_url(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "other",
    [
        "https://github.com/Org/fleet",
        "https://github.com/org/fleet.git/",
        "git@github.com:org/fleet.git",
        "ssh://git@github.com:22/org/fleet",
        "http://user@GitHub.com/org/fleet.git",
    ],
)
def test_the_ways_to_write_one_repository_are_the_same_for_a_webhook(other: str) -> None:
    assert repository_identity(other) == repository_identity("https://github.com/org/fleet.git")


def test_another_repository_is_another() -> None:
    assert repository_identity("https://github.com/org/fleet2") != repository_identity("https://github.com/org/fleet")
    assert repository_identity("https://other.com/org/fleet") != repository_identity("https://github.com/org/fleet")


def test_the_longest_prefix_rewrites_as_instead_of_does() -> None:
    rewriter = UrlRewriter.parse(
        [
            "https://github.com/=http://mirror:3000/",
            "https://github.com/org/=file:///srv/org/",
            "https://git.example/=x://",
        ]
    )
    assert rewriter.rewrite("https://github.com/org/fleet") == "file:///srv/org/fleet"
    assert rewriter.rewrite("https://github.com/other/fleet") == "http://mirror:3000/other/fleet"
    assert rewriter.rewrite("https://gitlab.com/org/fleet") == "https://gitlab.com/org/fleet"
    assert UrlRewriter().rewrite("https://gitlab.com/x") == "https://gitlab.com/x"


@pytest.mark.parametrize("option", ["https://a/", "=x", "https://a/="])
def test_a_rewrite_rule_without_both_sides_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match="PREFIX=REPLACEMENT"):
        UrlRewriter.parse([option])


@pytest.mark.parametrize(
    "url", ["https://example.com", "http://[::1]:9090/prometheus", "https://example.com/healthz?full=1&deep=a%20b"]
)
def test_urls_that_a_gate_may_ask(url: str) -> None:
    check_web_url(url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("example.com/healthz", "no http or https URL"),
        ("file:///etc/passwd", "no http or https URL"),
        ("ftp://example.com/x", "no http or https URL"),
        ("https:///healthz", "no http or https URL"),
        ("https://example.com:port/x", "no valid URL"),
        ("https://example.com/a b", "a blank"),
        ("https://example.com/a\r\nHost: b", "control character"),
        ("https://example.com/\N{GREEK SMALL LETTER ALPHA}", "a blank"),
        ("https://example.com/x#top", "a '#'"),
    ],
)
def test_what_is_no_address_of_a_web_server_is_refused_for_a_gate(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_web_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@example.com/x",
        "https://s3cret@example.com/",
        "https://example.com:x/?token=s3cret",
        "https://example.com/ ?token=s3cret",
        "https://:s3cret@example.com",
    ],
)
def test_credentials_in_the_url_of_a_gate_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_web_url(url)
    assert "s3cret" not in str(raised.value)
