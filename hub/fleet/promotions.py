"""An Environment's ``promotesFrom``, read into `hub.fleet.strategy`'s facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from felloe.errors import ConfigError
from hub.fleet.document import DEFAULT_NAMESPACE, NAME, NAMESPACE, Spec
from hub.fleet.schema import Duration, Field, Flag, Record, Text, TextOr
from hub.fleet.strategy import DEFAULT_AUTHOR, Forge, GitPromotion, Promotion, PullRequest
from hub.sources.spec import check_ref_name
from hub.sources.url import check_web_url


def _branch_mistake(text: str) -> str:
    try:
        check_ref_name(text, "branch")
    except ConfigError as error:
        return error.message
    return ""


def _folder_mistake(text: str) -> str:
    parts = text.removeprefix("./").rstrip("/").split("/")
    if any(part in {"", ".", ".."} for part in parts) or parts[0] == ".git":
        return f"{text[:60]!r} is no folder below the top of the repository; write it as environments/dev"
    return ""


def _url_mistake(text: str) -> str:
    try:
        check_web_url(text)
    except ConfigError as error:
        return error.message
    return "must not have a query" if "?" in text else ""


def _line_mistake(text: str) -> str:
    wrong = not text.strip() or not text.isprintable() or any(letter in "<>" for letter in text)
    return f"{text[:60]!r} can't stand in a commit: one line without < and > is needed" if wrong else ""


_SECRET: Final = Record({"name": Field(NAME, required=True)})
_FOLDER: Final = Field(Text(judge=_folder_mistake))
_LINE: Final = Text(judge=_line_mistake)
_PULL_REQUEST: Final = Record(
    {
        "forge": Field(Text(one_of=tuple(Forge)), required=True),
        "secretRef": Field(_SECRET, required=True),
        "api": Field(Text(judge=_url_mistake)),
    }
)
_GIT: Final = Record(
    {
        "source": Field(Record({"name": Field(NAME, required=True), "namespace": Field(NAMESPACE)})),
        "branch": Field(Text(judge=_branch_mistake), required=True),
        "from": _FOLDER,
        "to": _FOLDER,
        "pullRequest": Field(_PULL_REQUEST),
        "secretRef": Field(_SECRET),
        "author": Field(Record({"name": Field(_LINE, required=True), "email": Field(_LINE, required=True)})),
    }
)
PROMOTION: Final = Field(
    TextOr(
        NAME,
        Record(
            {
                "environment": Field(NAME, required=True),
                "soak": Field(Duration()),
                "approval": Field(Flag()),
                "git": Field(_GIT),
            }
        ),
    )
)


def read_promotion(spec: Spec) -> Promotion | None:
    """Return what the spec of an Environment, which was checked, says; None where it says nothing."""
    if "promotesFrom" not in spec:
        return None
    if short := spec.text("promotesFrom"):
        return Promotion(short)
    written = spec.record("promotesFrom")
    git = _git(written.record("git")) if "git" in written else None
    return Promotion(written.text("environment"), written.seconds("soak", 0.0), written.flag("approval"), git)


def promotion_mistakes(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield what a table of fields can't say, as field and message."""
    git = spec.record("promotesFrom").record("git") if not spec.text("promotesFrom") else Spec({})
    source, target = _folder(git, "from"), _folder(git, "to")
    path = "spec.promotesFrom.git"
    if bool(source) != bool(target):
        yield path, "from and to belong together: the folder that is copied, and the one that it makes"
    elif source and (f"{source}/".startswith(f"{target}/") or f"{target}/".startswith(f"{source}/")):
        yield f"{path}.to", f"{target} and {source} must not be in each other"


def _git(git: Spec) -> GitPromotion:
    source, request, author = git.record("source"), git.record("pullRequest"), git.record("author")
    return GitPromotion(
        branch=git.text("branch"),
        source=(source.text("namespace") or DEFAULT_NAMESPACE, source.text("name")) if "source" in git else None,
        from_folder=_folder(git, "from"),
        to_folder=_folder(git, "to"),
        pull_request=_request(request) if "pullRequest" in git else None,
        secret=git.record("secretRef").text("name"),
        author=(author.text("name"), author.text("email")) if "author" in git else DEFAULT_AUTHOR,
    )


def _request(request: Spec) -> PullRequest:
    return PullRequest(Forge(request.text("forge")), request.record("secretRef").text("name"), request.text("api"))


def _folder(git: Spec, field: str) -> str:
    return git.text(field).removeprefix("./").rstrip("/")
