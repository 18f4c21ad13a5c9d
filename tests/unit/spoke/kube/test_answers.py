"""Answers of an HTTP/1.1 server, however the network cuts them."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke.kube.answers import Answer, BrokenError

WHOLE = {
    "counted": (b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nWarning: a\r\nwarning:  b \r\n\r\nhello", 201, b"hello"),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "chunked": (
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\nA;x=y\r\n, wor\r\nld!\r\n0\r\nTrailer: x\r\n\r\n"
        ),
        200,
        b"hello, wor\r\nld!",
    ),
    "after a hundred": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
}


def read(parts: list[bytes]) -> tuple[Answer, bytes]:
    answer, body = Answer(), b""
    for part in parts:
        body += b"".join(answer.feed(part))
    return answer, body


@pytest.mark.parametrize("what", WHOLE)
@given(data=st.data())
def test_an_answer_is_read_however_it_is_cut(what: str, data: st.DataObject) -> None:
    sent, status, content = WHOLE[what]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1))))
    parts = [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    answer, body = read(parts)
    assert answer.complete
    assert answer.stays
    assert (answer.status, body) == (status, content)
    early, some = read(parts[:-1])
    assert not early.complete
    assert content.startswith(some)


def test_a_header_that_comes_twice_has_both_values() -> None:
    answer, _ = read([WHOLE["counted"][0]])
    assert answer.headers == {"content-length": "5", "warning": "a, b"}


def test_what_has_no_length_ends_with_its_connection() -> None:
    answer, body = read([b"HTTP/1.0 200 OK\r\n\r\nhe", b"llo"])
    assert body == b"hello"
    assert not answer.complete
    answer.ended()
    assert answer.complete
    assert not answer.stays


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nConte", WHOLE["counted"][0][:-1], WHOLE["chunked"][0][:-1]])
def test_an_answer_that_is_cut_short_is_none(sent: bytes) -> None:
    answer, _ = read([sent] if sent else [])
    with pytest.raises(BrokenError, match="closed the connection"):
        answer.ended()


@pytest.mark.parametrize("connection", [b"close", b"keep-alive, Close"])
def test_a_server_may_want_no_more_requests(connection: bytes) -> None:
    answer, _ = read([b"HTTP/1.1 200 OK\r\nConnection: " + connection + b"\r\nContent-Length: 0\r\n\r\n"])
    assert answer.complete
    assert not answer.stays


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : value\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ntoo much",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
    ],
)
def test_what_no_server_should_say_is_an_error(sent: bytes) -> None:
    with pytest.raises(BrokenError):
        read([sent])


def test_an_answer_that_is_read_needs_no_garbage_collector_to_go() -> None:
    gc.disable()
    try:
        answer = Answer()
        answer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        assert answer.complete
        gone = weakref.ref(answer)
        del answer
        assert gone() is None
    finally:
        gc.enable()
