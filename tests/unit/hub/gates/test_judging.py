from __future__ import annotations

import json

import pytest

from hub.fleet.strategy import HttpGate, PrometheusGate
from hub.gates.judging import judge, question
from hub.gates.web import Answer

GATE = PrometheusGate("errors", "http://prometheus:9090/sub/?token=hidden", "up", "<", 0.5)


def answered(result_type: str, result: object) -> Answer:
    return Answer(
        200, json.dumps({"status": "success", "data": {"resultType": result_type, "result": result}}).encode()
    )


def vector(*values: str) -> Answer:
    return answered(
        "vector", [{"metric": {"__name__": "up", "job": f"j{n}"}, "value": [1.5, v]} for n, v in enumerate(values)]
    )


def of(operator: str, threshold: float = 0.5) -> PrometheusGate:
    return PrometheusGate("errors", "http://prometheus:9090", "up", operator, threshold)


@pytest.mark.parametrize(
    ("operator", "value", "passes"),
    [
        ("<", "0.4", True), ("<", "0.5", False),
        ("<=", "0.5", True), ("<=", "0.6", False),
        (">", "0.6", True), (">", "0.5", False),
        (">=", "0.5", True), (">=", "0.4", False),
        ("==", "0.5", True), ("==", "0.4", False),
        ("!=", "0.4", True), ("!=", "0.5", False),
        (">", "+Inf", True), ("<", "-Inf", True), ("<", "+Inf", False),
    ],
)  # fmt: skip
def test_an_operator_compares_the_sample_with_the_threshold(operator: str, value: str, passes: bool) -> None:
    assert judge(of(operator), vector(value)).passed is passes
    assert judge(of(operator), answered("scalar", [1.5, value])).passed is passes


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "==", "!="])
def test_what_is_no_number_never_passes(operator: str) -> None:
    assert not judge(of(operator), vector("NaN")).passed
    assert not judge(of(operator), answered("scalar", [1, "NaN"])).passed


def test_every_sample_has_to_hold_and_those_that_do_not_are_named() -> None:
    opinion = judge(of("<"), vector("0.1", "0.7", "NaN"))
    assert not opinion.passed
    assert opinion.message == '2 of 3 samples are not < 0.5: up{job="j1"} 0.7, up{job="j2"} nan'
    assert judge(of("<"), vector("0.1", "0.2")).message == "all 2 samples are < 0.5"
    assert judge(of("<"), vector("0.1")).message == 'up{job="j0"} 0.1 is < 0.5'


def test_an_empty_result_passes_only_where_the_gate_says_so() -> None:
    closed = judge(GATE, vector())
    assert not closed.passed
    assert "emptyPasses" in closed.message
    assert judge(PrometheusGate("e", "http://p", "up", "<", 1.0, empty_passes=True), vector()).passed


def test_an_error_is_told_in_the_words_of_prometheus() -> None:
    said = {"status": "error", "errorType": "bad_data", "error": 'parse error: unexpected "}"'}
    opinion = judge(GATE, Answer(400, json.dumps(said).encode()))
    assert not opinion.passed
    assert opinion.message == 'http://prometheus:9090/sub/ says bad_data: parse error: unexpected "}"'


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(200, b"<html>log in</html>"), "HTTP 200 OK and no JSON"),
        (Answer(502, b""), "HTTP 502 Bad Gateway and no JSON"),
        (Answer(200, b"[]"), "not as a Prometheus does"),
        (Answer(200, b'{"status":"success"}'), "needs an instant vector or a scalar"),
        (answered("matrix", []), "the query gives matrix"),
        (answered("string", [1, "x"]), "the query gives string"),
        (answered("scalar", [1, "many"]), "a sample that has no value"),
        (answered("scalar", None), "a sample that has no value"),
        (answered("vector", [1]), "holds no samples"),
        (answered("vector", [{"metric": {}}]), "a sample that has no value"),
        (answered("vector", [{"metric": {}, "histogram": [1, {}]}]), "native histogram"),
        (Answer(200, b"{", cut=True), "larger than 8 MiB"),
    ],
)
def test_an_answer_that_is_none_does_not_pass_and_says_what_it_was(answer: Answer, says: str) -> None:
    opinion = judge(PrometheusGate("e", "http://p/?token=hidden", "up", "!=", 1.0, empty_passes=True), answer)
    assert not opinion.passed
    assert says in opinion.message
    assert "hidden" not in opinion.message


def test_what_a_stranger_says_stays_one_short_line() -> None:
    said = {"status": "error", "errorType": "x", "error": "a\nb\x1b[31m" + "c" * 5000}
    message = judge(GATE, Answer(500, json.dumps(said).encode())).message
    assert "a b [31mccc" in message
    assert len(message) < 500


def test_a_query_goes_to_the_api_below_the_url() -> None:
    asked = question(PrometheusGate("e", "http://p:9090/prefix/", "sum(up)", "<", 1.0, timeout=5))
    assert asked.url == "http://p:9090/prefix/api/v1/query"
    assert asked.form == {"query": "sum(up)", "timeout": "5.000"}


@pytest.mark.parametrize(
    ("gate", "answer", "passes", "says"),
    [
        (HttpGate("g", "http://s/ok?token=hidden"), Answer(200, b""), True, "http://s/ok answered HTTP 200 OK"),
        (HttpGate("g", "http://s/ok"), Answer(503, b""), False, "HTTP 503 Service Unavailable; wanted is 200"),
        (HttpGate("g", "http://s/ok", (200, 204)), Answer(204, b""), True, "HTTP 204"),
        (HttpGate("g", "http://s/ok", (200, 204)), Answer(299, b""), False, "HTTP 299; wanted is 200 or 204"),
        (HttpGate("g", "http://s/ok", contains="ready"), Answer(200, b"all ready"), True, "HTTP 200"),
        (HttpGate("g", "http://s/ok", contains="bereit, äh"), Answer(200, "bereit, äh".encode()), True, "HTTP 200"),
        (HttpGate("g", "http://s/ok", contains="ready"), Answer(200, b"no"), False, 'does not contain "ready"'),
        (HttpGate("g", "http://s/ok", contains="x"), Answer(200, b"", cut=True), False, "the first 1 MiB of"),
    ],
)  # fmt: skip
def test_an_http_gate_wants_a_status_and_a_text(gate: HttpGate, answer: Answer, passes: bool, says: str) -> None:
    opinion = judge(gate, answer)
    assert opinion.passed is passes
    assert says in opinion.message
    assert "hidden" not in opinion.message
