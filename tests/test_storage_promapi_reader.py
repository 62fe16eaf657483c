import json
from typing import Any

import pytest

from fleetpulse.errors import QueryError, StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Metadata
from fleetpulse.storage.base import Hints
from fleetpulse.storage.promapi.client import PromApiClient
from fleetpulse.storage.promapi.reader import PromApiReader, seconds, selector
from tests.promapi_fakes import Answer, Asked, FakeStore, Told, config, fake_store, told
from tests.store_fakes import samples_of

pytestmark = pytest.mark.integration

M = Matcher("__name__", "=", "m")


def reading(store: FakeStore, **more: Any) -> PromApiReader:
    client = PromApiClient(config(**{"url": store.url, **more}))
    return PromApiReader(client, "vm")


def exported(*rows: tuple[dict[str, str], list[float], list[int]]) -> Answer:
    lines = [
        json.dumps({"metric": labels, "values": values, "timestamps": times}, separators=(",", ":"))
        for labels, values, times in rows
    ]
    return lambda _: Told(200, "".join(f"{line}\n" for line in lines).encode())


def test_parts_of_a_series_become_one_in_order() -> None:
    b, a = {"__name__": "m", "x": "b"}, {"__name__": "m", "x": "a"}
    with fake_store(exported((b, [3, 4], [30, 40]), (a, [1], [5]), (b, [1, 3], [10, 30]))) as store:
        found = reading(store).select([M], 0, 100, Hints())
    samples_of(found)
    assert [one.labels for one in found] == [Labels.of(a), Labels.of(b)]
    assert found[1].times_ms.tolist() == [10, 30, 40]
    assert found[1].values.tolist() == [1, 3, 4]


def test_what_is_asked_is_matchers_bounds_and_nothing_from_a_cache() -> None:
    with fake_store(exported()) as store:
        reading(store).select([M, Matcher("a", "!~", 'x"y|\\d')], 1_000, 12_345, Hints())
    (asked,) = store.of("/api/v1/export")
    assert asked.of("match[]") == ['{__name__="m",a!~"x\\"y|\\\\d"}']
    assert asked.of("start") + asked.of("end") == ["1.0004", "12.3454"]
    assert asked.of("nocache") + asked.of("deny_partial_response") == ["1", "1"]


SELECTORS = [
    pytest.param([M], '{__name__="m"}', id="a name"),
    pytest.param([], '{__name__!=""}', id="everything"),
    pytest.param(
        [M, Matcher("a", "=~", "x.y")], '{__name__="m",a=~"(?s)x.y"}', id="a dot is a line break"
    ),
    pytest.param(
        [M, Matcher("a", "=~", "x.*"), Matcher("b", "=~", "x\\.y.+")],
        '{__name__="m",a=~"x.*",b=~"x\\\\.y.+"}',
        id="a dot at the end is one by itself, an escaped one is none",
    ),
    pytest.param(
        [Matcher("a", "!=", "x")], '{__name__!="",a!="x"}', id="one that may be empty is not alone"
    ),
    pytest.param(
        [Matcher("a.b", "=", "x")], '{__name__!=""}', id="a name that not all can read is left out"
    ),
]


@pytest.mark.parametrize(("matchers", "wanted"), SELECTORS)
def test_selectors_are_those_that_every_version_reads(matchers: list[Matcher], wanted: str) -> None:
    assert selector(matchers) == wanted


def test_what_could_not_be_asked_is_looked_at_here() -> None:
    rows = [({"__name__": "m", "a.b": value}, [1.0], [5]) for value in "xyx"]
    with fake_store(exported(*rows)) as store:
        found = reading(store).select([Matcher("a.b", "=", "y")], 0, 100, Hints())
    assert [one.labels.get("a.b") for one in found] == ["y"]


def test_milliseconds_are_neither_cut_off_nor_rounded_up() -> None:
    for at_ms in (1, 999, 1_700_000_000_123, 1_700_000_000_122, 8_999_999_999_999):
        text = seconds(at_ms)
        assert int(float(text) * 1e3) == round(float(text) * 1e3) == at_ms


LIMITS = [
    pytest.param(Hints(max_samples=3), "too many samples", id="samples"),
    pytest.param(Hints(max_series=1), "more than 1 series", id="series"),
]


@pytest.mark.parametrize(("hints", "message"), LIMITS)
def test_limits_of_the_hints(hints: Hints, message: str) -> None:
    rows = [({"__name__": "m", "x": x}, [1.0, 2.0], [5, 6]) for x in "ab"]
    with (
        fake_store(exported(*rows)) as store,
        pytest.raises(QueryError, match=message),
    ):
        reading(store).select([M], 0, 100, hints)


def test_a_failure_half_way_is_no_shorter_answer() -> None:
    good = b'{"metric":{"__name__":"m"},"values":[1],"timestamps":[5]}\n'
    with (
        fake_store(lambda _: Told(200, good + b"error when exporting")) as store,
        pytest.raises(StorageError, match="ends with no series"),
    ):
        reading(store).select([M], 0, 100, Hints())


def test_a_cut_answer_is_no_shorter_answer() -> None:
    good = b'{"metric":{"__name__":"m"},"values":[1],"timestamps":[5]}\n'
    with (
        fake_store(lambda _: Told(200, good, promised=500)) as store,
        pytest.raises(StorageError, match="cut off"),
    ):
        reading(store).select([M], 0, 100, Hints())


def indexed(asked: Asked) -> Told:
    data: dict[str, Any] = {
        "/api/v1/labels": ["job", "__name__"],
        "/api/v1/label/job/values": ["b", "a"],
        "/api/v1/series": [{"__name__": "m", "a.b": "2"}, {"__name__": "m", "a.b": "1"}],
        "/api/v1/metadata": {"m": [{"type": "counter", "help": "H.", "unit": ""}], "n": []},
    }
    return told(data[asked.path])


def test_the_index_answers_in_order() -> None:
    with fake_store(indexed) as store:
        reader = reading(store)
        assert reader.labels([], 0, 10_000) == ["__name__", "job"]
        assert reader.label_values("job", [[M]], 0, 10_000) == ["a", "b"]
        assert [one.get("a.b") for one in reader.series([], 0, 10_000)] == ["1", "2"]
        odd = [[Matcher("a.b", "=", "2")]]
        assert reader.series(odd, 0, 10_000) == [Labels.of({"__name__": "m", "a.b": "2"})]
        assert reader.labels(odd, 0, 10_000) == ["__name__", "a.b"]
        assert reader.label_values("a.b", odd, 0, 10_000) == ["2"]
        assert reader.metadata() == {"m": Metadata("counter", "H.", "")}
    # Zero would stand for the last five minutes there.
    assert [one.of("start") for one in store.of("/api/v1/series")] == [["0.0014"]] * 4


def test_nothing_is_held_from_before_1970() -> None:
    with fake_store(indexed) as store:
        reader = reading(store)
        assert not reader.select([M], -5, -1, Hints())
        assert not reader.series([], -5, -1) + reader.labels([], -5, -1)
        assert not reader.label_values("job", [], -5, -1)
    assert not store.asked


SHAPES = [
    pytest.param("labels", {"a": 1}, id="labels that are no list"),
    pytest.param("labels", [1], id="labels that are no text"),
    pytest.param("series", ["x"], id="series that are no labels"),
    pytest.param("metadata", [], id="metadata that is a list"),
]


@pytest.mark.parametrize(("path", "data"), SHAPES)
def test_other_shapes_are_told(path: str, data: Any) -> None:
    with fake_store(lambda _: told(data)) as store:
        reader = reading(store)
        calls = {
            "labels": lambda: reader.labels([], 0, 1),
            "series": lambda: reader.series([], 0, 1),
            "metadata": reader.metadata,
        }
        with pytest.raises(StorageError, match=f"answer to /api/v1/{path} has another shape"):
            calls[path]()


def test_a_cluster_is_asked_at_its_tenants_path() -> None:
    with fake_store(exported()) as store:
        reader = reading(
            store, url=None, insert_url="http://x:1", select_url=store.url, tenant="7:2"
        )
        reader.select([M], 0, 100, Hints())
    assert store.asked[0].path == "/select/7:2/prometheus/api/v1/export"
