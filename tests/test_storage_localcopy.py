"""A copy of a remote store's last hours: who answers, and what makes it begin anew."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter, ValidationError

from fleetpulse.backend import Storage, open_storage
from fleetpulse.errors import ConfigError, StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.model import METRIC_NAME, Labels, Page
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import Vector
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse.storage.localcopy import CopyFirst, CopyingWriter, CopyMark
from fleetpulse.storageconfig import AnyStore, StorageConfig
from fleetpulse_cli.sections import read_root
from tests.store_fakes import T0, opened

HOUR = 3600
UP = [Matcher(METRIC_NAME, "=", "up")]
# Nothing listens on port 1.
AWAY = {"kind": "influxdb1", "url": "http://127.0.0.1:1", "database": "d"}


class Clock:
    def __init__(self) -> None:
        self.now = T0 / 1000

    def __call__(self) -> float:
        return self.now


class Count:
    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        self.value += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mark(tmp_path: Path, clock: Clock) -> CopyMark:
    return CopyMark(tmp_path / "copy.json", now=clock)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[EmbeddedStore, EmbeddedStore]]:
    """The copy, and one that stands for the remote store."""
    with opened(tmp_path / "copy.db") as copy, opened(tmp_path / "remote.db") as remote:
        yield copy, remote


def page(at: float, source: str = "x") -> Page:
    return Page.of(Labels.of(source=source), round(at * 1000), {Labels.of(__name__="up"): 1.0})


# --------------------------------------------------------------------------- the mark


def test_a_copy_is_vouched_for_since_it_began(mark: CopyMark, clock: Clock) -> None:
    assert mark.since() is None
    mark.keep_up()
    clock.now += 60
    mark.keep_up()
    assert mark.since() == T0 / 1000


def test_without_the_scrapers_word_nobody_vouches(mark: CopyMark, clock: Clock) -> None:
    mark.keep_up()
    clock.now += 301
    assert mark.since() is None
    mark.keep_up()
    assert mark.since() == clock.now


def test_a_copy_that_lacks_something_begins_anew(mark: CopyMark, clock: Clock) -> None:
    mark.broken()
    assert mark.since() is None
    mark.keep_up()
    clock.now += 30
    mark.broken()
    assert mark.since() == clock.now


GARBAGE = ["", "{", "[]", "[1]", '["a", "b"]', "[1, 2, 3]", "null", "[null, null]"]


@pytest.mark.parametrize("text", GARBAGE)
def test_a_mark_that_cannot_be_read_is_none(text: str, tmp_path: Path, mark: CopyMark) -> None:
    (tmp_path / "copy.json").write_text(text)
    assert mark.since() is None


def test_a_mark_of_the_future_is_none(tmp_path: Path, mark: CopyMark, clock: Clock) -> None:
    (tmp_path / "copy.json").write_text(json.dumps([clock.now + 1, clock.now]))
    assert mark.since() is None


# --------------------------------------------------------------------------- who answers

# The copy began two hours ago and keeps one, or six. Start from now, in seconds.
ASKED = [
    pytest.param(1 * HOUR, -0.5 * HOUR, "auto", "copy", id="within what it keeps"),
    pytest.param(1 * HOUR, -1.5 * HOUR, "auto", "remote", id="before that"),
    pytest.param(6 * HOUR, -1.5 * HOUR, "auto", "copy", id="since it began"),
    pytest.param(6 * HOUR, -1.95 * HOUR, "auto", "remote", id="just after it began"),
    pytest.param(6 * HOUR, -3 * HOUR, "auto", "remote", id="before it began"),
    pytest.param(6 * HOUR, -1 * HOUR, "5m", "remote", id="windows, which it has not"),
]


@pytest.mark.parametrize(("keeps", "start", "tier", "wanted"), ASKED)
def test_who_answers(
    stores: tuple[EmbeddedStore, EmbeddedStore], mark: CopyMark, clock: Clock,
    keeps: float, start: float, tier: str, wanted: str,
) -> None:  # fmt: skip
    mark.keep_up()
    clock.now += 2 * HOUR
    kept_up(mark, clock)
    for store, source in zip(stores, ("copy", "remote"), strict=True):
        store.write([page(clock.now - 1, source)])
    reader = CopyFirst(*stores, mark, keeps, now=clock)
    bounds = (round((clock.now + start) * 1000), round(clock.now * 1000))
    (found,) = reader.select(UP, *bounds, Hints(tier=tier))  # type: ignore[arg-type]
    assert found.labels.get("source") == wanted
    if tier == "auto":
        assert reader.label_values("source", [], *bounds) == [wanted]
        assert reader.labels([], *bounds) == [METRIC_NAME, "source"]
        assert [one.get("source") for one in reader.series([], *bounds)] == [wanted]


def kept_up(mark: CopyMark, clock: Clock) -> None:
    """As if the scraper had said each minute that it is there."""
    end = clock.now
    clock.now = T0 / 1000
    while clock.now < end:
        clock.now += 60
        mark.keep_up()


def test_without_a_mark_the_remote_store_answers(
    stores: tuple[EmbeddedStore, EmbeddedStore], mark: CopyMark, clock: Clock
) -> None:
    copy, remote = stores
    writer = CopyingWriter(remote, copy, mark, Count())
    writer.write([page(clock.now)])
    bounds = (T0 - 1000, T0)
    assert copy.select(UP, *bounds, Hints()) == []
    reader = CopyFirst(copy, remote, mark, HOUR, now=clock)
    assert len(reader.select(UP, *bounds, Hints())) == 1


# --------------------------------------------------------------------------- writing


class Broken:
    def write(self, pages: Sequence[Page]) -> None:
        raise StorageError("disk full", retriable=True)


def test_what_is_written_goes_to_both(
    stores: tuple[EmbeddedStore, EmbeddedStore], mark: CopyMark
) -> None:
    mark.keep_up()
    copy, remote = stores
    CopyingWriter(remote, copy, mark, Count()).write([page(T0 / 1000)])
    for store in stores:
        assert len(store.select(UP, T0, T0, Hints())) == 1


def test_a_copy_that_fails_keeps_nothing_from_the_remote_store(
    stores: tuple[EmbeddedStore, EmbeddedStore], mark: CopyMark, clock: Clock
) -> None:
    mark.keep_up()
    clock.now += 60
    failures = Count()
    _, remote = stores
    CopyingWriter(remote, Broken(), mark, failures).write([page(T0 / 1000)])  # type: ignore[arg-type]
    assert len(remote.select(UP, T0, T0, Hints())) == 1
    assert failures.value == 1
    assert mark.since() == clock.now


# --------------------------------------------------------------------------- as configured


def config(section: dict[str, object]) -> AnyStore:
    found: AnyStore = TypeAdapter(StorageConfig).validate_python(section)
    return found


@pytest.fixture
def open_role(tmp_path: Path) -> Iterator[Callable[[str, object], Storage]]:
    opened: list[Storage] = []

    def opening(role: str, local_copy: object) -> Storage:
        section = config({**AWAY, "local_copy": local_copy})
        opened.append(open_storage(section, tmp_path, role, CollectorRegistry()))
        return opened[-1]

    yield opening
    for storage in opened:
        storage.close()


def test_rules_go_on_while_the_server_is_away(
    open_role: Callable[[str, object], Storage], tmp_path: Path
) -> None:
    scraper, rules = open_role("scraper", "1d"), open_role("rules", "1d")
    assert [job.name for job in scraper.jobs] == ["compaction", "retention", "copy"]
    assert not rules.jobs
    mark = CopyMark(tmp_path / "copy.json")
    since = mark.since()
    assert since is not None
    # As if it had begun an hour ago.
    (tmp_path / "copy.json").write_text(json.dumps([since - HOUR, since]))
    scraper.writer.write([page(since)])
    data = rules.engine.instant("up + 1", round(since * 1000)).data
    assert isinstance(data, Vector)
    assert data.values.tolist() == [2.0]
    with pytest.raises(StorageError, match="cannot be reached"):
        rules.engine.instant("up offset 2h", round(since * 1000))


def test_without_the_option_there_is_no_copy(
    open_role: Callable[[str, object], Storage], tmp_path: Path
) -> None:
    open_role("scraper", "1d").close()
    open_role("scraper", 0)
    assert CopyMark(tmp_path / "copy.json").since() is None
    rules = open_role("rules", 0)
    assert isinstance(rules.engine, Engine)
    with pytest.raises(StorageError, match="cannot be reached"):
        rules.engine.instant("up", 1000)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        pytest.param({"local_copy": "10m"}, "at least 1h", id="too short to be of use"),
        pytest.param({"max_size": "1GB"}, "local_copy: 1d", id="the key that was before it"),
    ],
)
def test_what_is_refused(section: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config({**AWAY, **section})


def test_one_of_several_scrapers_keeps_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "f.yml"
    storage = "storage: {kind: influxdb1, url: 'http://x', database: d, local_copy: 1d}\n"
    path.write_text(f"{storage}scraper: {{shard: {{index: 0, of: 2}}}}\n")
    with pytest.raises(ConfigError, match=r"f.yml:1: storage.local_copy: .*of 2 that"):
        read_root(path)
    path.write_text(f"{storage}scraper: {{shard: {{index: 0, of: 1}}}}\n")
    assert read_root(path).storage.local_copy == 86400.0
