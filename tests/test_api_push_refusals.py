"""Pushes that are refused, and what is said of them."""

import gzip
import zlib
from pathlib import Path

import pytest

from fleetpulse.errors import StorageError
from tests.api_fakes import bearer
from tests.push_fakes import PATH, TEXT, Push


@pytest.fixture
def push(tmp_path: Path) -> Push:
    return Push(tmp_path)


def test_a_server_that_is_not_listed_is_refused(push: Push) -> None:
    key = push.api.key("push")
    answer = push.json({"server": "web9", "samples": []}, key)
    assert answer.status_code == 403
    assert "api.push.servers" in answer.json["error"]  # type: ignore[index]
    assert push.raw(b"a 1\n", TEXT, key, "?server=web9").status_code == 403


def test_a_key_of_another_server_is_refused(push: Push) -> None:
    assert push.json({"server": "web2", "samples": []}).status_code == 403
    assert push.text("a 1\n", "?server=web2").status_code == 403
    assert push.json({"server": "web2", "samples": []}, push.api.key("push")).status_code == 202


def test_a_bound_key_names_its_server_by_itself(push: Push) -> None:
    assert push.text("a 1\n", "").status_code == 202
    assert 'instance="web1"' in next(iter(push.stored()))
    answer = push.raw(b"a 1\n", TEXT, push.api.key("push"))
    assert answer.status_code == 400
    assert "server: missing" in answer.json["error"]  # type: ignore[index]


BROKEN = [
    pytest.param(b"{", id="cut off"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b"[" * 100_000, id="nested without end"),
    pytest.param(b"\xff\xfe{", id="no UTF-8"),
    pytest.param(b'{"server": "web1"}', id="no samples"),
    pytest.param(b'{"server": "web1", "samples": {}}', id="samples are no list"),
    pytest.param(b'{"server": ["web1"], "samples": []}', id="the server is no text"),
    pytest.param(b'{"server": "web1", "batch_id": 5, "samples": []}', id="a number for batch_id"),
    pytest.param(b'{"server":"web1","samples":[' + b"9" * 5000 + b"]}", id="endless digits"),
]


@pytest.mark.parametrize("body", BROKEN)
def test_what_is_no_push_is_refused(push: Push, body: bytes) -> None:
    answer = push.raw(body, {"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert push.api.writer.pages == []


def zipped(body: bytes) -> bytes:
    return gzip.compress(body)


GZIP = [
    pytest.param(zipped(b"a 1\n"), 202, id="whole"),
    pytest.param(zipped(b"a 1\n") + zipped(b"b 1\n"), 202, id="two members"),
    pytest.param(zipped(b"a 1\n")[:-5], 400, id="cut off"),
    pytest.param(zipped(b"a 1\n")[:10] + b"xxxx" + zipped(b"a 1\n")[14:], 400, id="garbled"),
    pytest.param(zipped(b"a 1\n") + b"tail", 400, id="garbage behind"),
    pytest.param(b"a 1\n", 400, id="not compressed at all"),
    pytest.param(zlib.compress(b"a 1\n"), 400, id="zlib's own format"),
    pytest.param(b"", 400, id="nothing"),
    pytest.param(zipped(b"#" * (21 << 20)), 413, id="a bomb"),
    pytest.param(zipped(b"") * 2_000 + zipped(b"a 1\n"), 400, id="very many members"),
]


@pytest.mark.parametrize(("body", "code"), GZIP)
def test_gzip(push: Push, body: bytes, code: int) -> None:
    headers = {**TEXT, "Content-Encoding": "gzip"}
    assert push.raw(body, headers, query="?server=web1").status_code == code


def test_an_unknown_coding_is_told(push: Push) -> None:
    answer = push.text("a 1\n", **{"Content-Encoding": "br"})
    assert answer.status_code == 415


def test_ten_megabytes_are_too_many(push: Push) -> None:
    answer = push.raw(b"#" * (10 << 20), TEXT, query="?server=web1")
    assert answer.status_code == 413
    assert answer.json["errorType"] == "too_large"  # type: ignore[index]


def test_a_body_of_unknown_length_is_counted_as_it_comes(push: Push) -> None:
    class Endless:
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += 65536
            return b"#" * 65536

    stream = Endless()
    answer = push.api.client().post(
        PATH + "?server=web1",
        headers={**TEXT, **bearer(push.key)},
        environ_overrides={"wsgi.input": stream, "wsgi.input_terminated": True},
    )
    assert answer.status_code == 413
    assert stream.given < 6 << 20


def test_too_many_samples_are_refused(tmp_path: Path) -> None:
    push = Push(tmp_path, max_samples=2)
    sample = {"name": "a", "value": 1}
    assert push.samples(sample, sample).status_code == 202
    assert push.samples(sample, sample, sample).status_code == 413
    assert push.text("a 1\nb 1\nc 1\n").status_code == 413


def test_a_store_that_is_broken_for_good_is_500(push: Push) -> None:
    push.api.writer.failure = StorageError("file is no database", retriable=False)
    assert push.text("a 1\n").status_code == 500
