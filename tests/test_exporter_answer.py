"""What an answer of the API, or of whatever stands in its place, means for a page."""

import pytest

from exporter.push.answer import judge, retry_after

OURS = b'{"status": "error", "error": "because"}'
PORTAL = b"<html>Please log in</html>"

JUDGED = [
    pytest.param(202, b'{"accepted": 5}', "SENT", id="taken"),
    pytest.param(200, b'{"accepted": 5}', "SENT", id="taken, as another server may put it"),
    pytest.param(200, PORTAL, "LATER", id="the page of a hotel's portal"),
    pytest.param(200, b"", "LATER", id="nothing"),
    pytest.param(202, b'{"accepted": 5', "LATER", id="half an answer"),
    pytest.param(200, b"[3]", "LATER", id="not an object"),
    pytest.param(200, b"[" * 100_000, "LATER", id="JSON to fall into"),
    pytest.param(400, OURS, "REFUSED", id="not a page"),
    pytest.param(413, OURS, "REFUSED", id="too large"),
    pytest.param(415, OURS, "REFUSED", id="not that type"),
    pytest.param(422, OURS, "REFUSED", id="not those samples"),
    pytest.param(400, PORTAL, "LATER", id="http sent to a port of https"),
    pytest.param(413, PORTAL, "LATER", id="too large for a proxy, which can be mended there"),
    pytest.param(401, OURS, "LATER", id="no valid key"),
    pytest.param(403, OURS, "LATER", id="not on the whitelist"),
    pytest.param(404, OURS, "LATER", id="another address"),
    pytest.param(408, PORTAL, "LATER", id="too slow"),
    pytest.param(429, OURS, "LATER", id="too often"),
    pytest.param(500, OURS, "LATER", id="a fault of the API"),
    pytest.param(503, OURS, "LATER", id="a store that is away"),
    pytest.param(302, b"", "LATER", id="moved"),
]


@pytest.mark.parametrize(("status", "body", "verdict"), JUDGED)
def test_what_an_answer_means_for_the_page(status: int, body: bytes, verdict: str) -> None:
    answer = judge(status, {}, body, 0.0)
    assert answer.verdict.name == verdict
    assert answer.status == status
    assert verdict == "SENT" or str(status) in answer.text


KINDS = [
    pytest.param(401, (True, False), id="a key that is revoked waits for a person"),
    pytest.param(403, (True, False), id="so does a server that is not on the whitelist"),
    pytest.param(429, (False, True), id="too often is a matter of pace"),
    pytest.param(503, (False, False), id="a store that is away is neither"),
]


@pytest.mark.parametrize(("status", "kind"), KINDS)
def test_what_has_to_happen_first(status: int, kind: tuple[bool, bool]) -> None:
    answer = judge(status, {"Retry-After": "7"}, OURS, 0.0)
    assert (answer.denied, answer.paced) == kind
    assert answer.retry_after == 7.0


REJECTED = [
    pytest.param(b'{"accepted": 5, "rejected": 2, "duplicate": false}', 2, id="a number"),
    pytest.param(b'{"rejected": [{"index": 1}, {"index": 3}]}', 2, id="one by one"),
    pytest.param(b'{"accepted": 5}', 0, id="none"),
    pytest.param(b'{"rejected": "some"}', 0, id="no number"),
]


@pytest.mark.parametrize(("body", "count"), REJECTED)
def test_samples_that_were_left_out_are_counted(body: bytes, count: int) -> None:
    assert judge(202, {}, body, 0.0).rejected == count


TEXTS = [
    pytest.param(503, b'{"status":"error","error":"no room"}', "HTTP 503: no room", id="JSON"),
    pytest.param(502, b"<h1>Bad\n Gateway</h1>", "HTTP 502: <h1>Bad Gateway</h1>", id="a proxy's"),
    pytest.param(500, b"a\x1b[2Jb\x00", "HTTP 500: a[2Jb", id="no control characters"),
    pytest.param(500, b"x" * 999, "HTTP 500: " + "x" * 200, id="not at length"),
    pytest.param(
        401, b'{"error":"key has expired"}',
        "HTTP 401: the key is not accepted; put a valid one of scope push into push.key_file; "
        "key has expired", id="with the mend",
    ),
    pytest.param(
        404, b"<h1>404</h1>",
        "HTTP 404: nothing there takes pushes; does push.url name the API?; <h1>404</h1>",
        id="a proxy that knows no such place",
    ),
    pytest.param(
        200, PORTAL,
        "HTTP 200: this is no answer of the API; does push.url name it?; "
        "<html>Please log in</html>", id="another server",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "text"), TEXTS)
def test_what_the_log_will_say(status: int, body: bytes, text: str) -> None:
    assert judge(status, {}, body, 0.0).text == text


def test_where_it_moved_is_told() -> None:
    answer = judge(301, {"Location": "https://new/\x1b"}, b"", 0.0)
    assert answer.text == "HTTP 301: moved to https://new/; put that into push.url"


RETRY_AFTER = [
    pytest.param("7", 7.0, id="seconds"),
    pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 60.0, id="a date"),
    pytest.param("Wed, 21 Oct 2014 07:28:00 GMT", 0.0, id="a date that is past"),
    pytest.param("", None, id="missing"),
    pytest.param("soon", None, id="neither"),
    pytest.param("-3", None, id="negative"),
]


@pytest.mark.parametrize(("value", "seconds"), RETRY_AFTER)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(value, 1445412420.0) == seconds
