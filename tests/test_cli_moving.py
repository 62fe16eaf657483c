"""`fleetpulse export` and `import` between stores, ended half-way and gone on with."""

import itertools
import json
import shutil
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fleetpulse.errors import StartError, StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.model import METRIC_NAME, STALE_NAN, Labels, Layout, Page, Series, lines_of
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse_cli.backfill import Backfill
from fleetpulse_cli.bookmark import Bookmark
from fleetpulse_cli.export import export
from fleetpulse_cli.exportfile import FileExport
from fleetpulse_cli.main import main
from fleetpulse_cli.pace import PacedWriter
from tests.influx_server import influxd
from tests.promapi_fakes import FakeStore, Told, fake_store
from tests.store_fakes import everything, opened
from tests.support import Process, wait_for
from tests.victoria_peer import NEEDS_VICTORIA, victoria, visible

T0 = 1_700_000_000_000
ALL = [Matcher("job", "=", "x")]
EVER = (0, 1 << 50)


def pages(metrics: int, times: int) -> Iterator[Page]:
    layout = Layout(
        lines_of([{METRIC_NAME: f"m{at:03d}", "q": 'a"\n\\b'} for at in range(metrics)])
    )
    for at in range(times):
        values = [float("inf") if at == 3 else STALE_NAN if at == 5 else at * 1.25 + n
                  for n in range(metrics)]  # fmt: skip
        yield Page(Labels.of(job="x", instance="i"), layout, T0 + at * 1000, array("d", values))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    with opened(tmp_path / "data" / "store.db") as store:
        store.write(list(pages(20, 10)))
        yield store


class Ending:
    """A reader that fails for good after so many selections."""

    def __init__(self, reader: EmbeddedStore, selections: int) -> None:
        self._reader, self._left = reader, selections
        self.label_values = reader.label_values
        self.labels, self.series, self.metadata = reader.labels, reader.series, reader.metadata

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        self._left -= 1
        if self._left < 0:
            raise StorageError("away", retriable=True)
        return self._reader.select(matchers, start_ms, end_ms, hints)


class Ticking:
    """A clock that has gone on by a minute at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 60.0
        return self.now


@pytest.mark.parametrize("selections", [1, 7, 19])
def test_an_export_goes_on_where_it_was_ended(
    store: EmbeddedStore, tmp_path: Path, selections: int
) -> None:
    file, asked = tmp_path / "out.om", {"matcher": "m"}
    with pytest.raises(StorageError):
        FileExport(file, asked, Ticking()).run(Ending(store, selections), ALL, EVER)
    assert not file.exists()
    again = Ending(store, 20 - selections)  # no metric is asked for twice
    # Its times are those of the first run: `2h ago` is another time by now.
    assert FileExport(file, asked, Ticking()).run(again, ALL, (5, 6))
    assert file.read_text() == "".join(export(store, ALL, *EVER))
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.om"]


def test_what_was_written_after_the_last_mark_is_written_again(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    file, asked = tmp_path / "out.om", {"matcher": "m"}
    with pytest.raises(StorageError):
        FileExport(file, asked, Ticking()).run(Ending(store, 9), ALL, EVER)
    with (tmp_path / "out.om.part").open("a") as part:
        part.write("m999 half a li")
    assert FileExport(file, asked).run(store, ALL, EVER)
    assert file.read_text() == "".join(export(store, ALL, *EVER))


def test_another_export_does_not_go_on_with_it(store: EmbeddedStore, tmp_path: Path) -> None:
    file = tmp_path / "out.om"
    with pytest.raises(StorageError):
        FileExport(file, {"matcher": "a"}, Ticking()).run(Ending(store, 9), ALL, EVER)
    assert not FileExport(file, {"matcher": "b"}).run(store, ALL, EVER)
    assert file.read_text() == "".join(export(store, ALL, *EVER))


def test_a_metric_too_large_for_memory_goes_on_in_its_middle(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    class Small(Ending):
        def select(
            self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
        ) -> Sequence[Series]:
            return super().select(matchers, start_ms, end_ms, Hints(max_samples=4))

    file, asked, bounds = tmp_path / "out.om", {"matcher": "m"}, (T0, T0 + 10_000)
    with pytest.raises(StorageError):
        FileExport(file, asked, Ticking()).run(Small(store, 4), ALL, bounds)
    mark = json.loads((tmp_path / "out.om.part.place").read_text())["place"]
    assert (mark["name"], T0 < mark["until_ms"] < T0 + 10_000) == ("m000", True)
    assert FileExport(file, asked, Ticking()).run(Small(store, 999), ALL, bounds)
    whole = "".join(export(store, ALL, *bounds))
    assert sorted(file.read_text().splitlines()) == sorted(whole.splitlines())


def test_progress_is_told_metric_by_metric(store: EmbeddedStore, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    FileExport(tmp_path / "o", {}).run(store, ALL, EVER, lambda done, of: seen.append((done, of)))
    assert seen == [(done, 20) for done in range(21)]


LINES = [b"# TYPE a gauge\n", b"a 1 1\n", b"a 2 2\n", b"b 3 3\n", b"# EOF\n"]


def test_lines_that_are_done_are_read_and_not_stored() -> None:
    taken: list[Page] = []
    told: list[int] = []
    backfill = Backfill(taken.extend, done=3, stored=told.append)
    backfill.read(LINES)
    assert [page.at_ms for page in taken] == [3000]
    assert (backfill.count, backfill.names, told) == (1, {"a", "b"}, [5])


def test_a_bookmark_is_for_one_work_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "mark"
    assert Bookmark(path, {"a": 1}).read() is None
    Bookmark(path, {"a": 1}).write({"line": 7})
    assert Bookmark(path, {"a": 1}).read() == {"line": 7}
    assert Bookmark(path, {"a": 2}).read() is None
    path.write_text("{half")
    assert Bookmark(path, {"a": 1}).read() is None
    Bookmark(path, {"a": 1}).clear()
    Bookmark(path, {"a": 1}).clear()
    assert not path.exists()


def test_a_bookmark_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be written"):
        Bookmark(tmp_path / "file" / "mark", {}).write({})


class Filling:
    """What a writer got, and a backlog that falls while somebody waits."""

    def __init__(self, backlog: int) -> None:
        self.left, self.pauses = backlog, 0
        self.taken: list[Page] = []

    def write(self, pages: Sequence[Page]) -> None:
        assert self.left <= 64 << 20
        self.taken += pages

    def describe(self, metadata: Any) -> None: ...
    def close(self) -> None: ...

    def pause(self, _seconds: float) -> None:
        self.pauses += 1
        self.left -= 32 << 20


def test_an_import_is_no_faster_than_its_store() -> None:
    filling = Filling(128 << 20)
    paced = PacedWriter(filling, lambda: filling.left, T0 + 1000, pause=filling.pause)
    paced.write(list(pages(3, 2)))
    assert (filling.pauses, len(filling.taken)) == (2, 2)
    assert paced.too_old == 3
    paced.finish()
    assert filling.left == 0


@pytest.mark.integration
def test_an_import_that_was_killed_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "m.om"
    with file.open("w") as out:
        for at in range(900_000):
            out.write(f'm{{n="{at % 100}"}} {at * 0.25} {1_700_000_000 + at // 100}\n')
        out.write("# EOF\n")
    arguments = ["import", "--quiet", str(file), "--data-dir", str(tmp_path / "data")]
    marks = tmp_path / "data" / "import"
    process = Process(arguments, tmp_path / "log").start()
    try:
        wait_for("a first mark", lambda: marks.exists() and list(marks.glob("*.json")))
    finally:
        process.kill()
    line = json.loads(next(marks.glob("*.json")).read_text())["place"]["line"]
    assert 0 < line < 900_000
    assert main(arguments) == 0
    assert not list(marks.glob("*.json"))
    with opened(tmp_path / "data" / "store.db") as store:
        found = everything(store)
    assert sum(map(len, found.values())) == 900_000


def settings(path: Path, **storage: Any) -> Path:
    path.write_text(json.dumps({"storage": storage}))
    return path


def moved(source: list[str], target: list[str], file: Path) -> None:
    assert main(["export", '{job="x"}', "-o", str(file), "--quiet", *source]) == 0
    assert main(["import", "--quiet", str(file), *target]) == 0


@pytest.mark.integration
def test_an_import_waits_until_the_store_has_everything(tmp_path: Path) -> None:
    (tmp_path / "m.om").write_text("a 1 1700000000\nb nAN 1700000000\n# EOF\n")
    with fake_store(lambda _: Told(204)) as fake:
        code = main(_import_into(fake, tmp_path))
    assert code == 0
    assert [asked.path for asked in fake.asked] == ["/api/v1/write"]


@pytest.mark.integration
def test_refused_samples_of_an_import_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.om").write_text("a 1 1700000000\n# EOF\n")
    with fake_store(lambda _: Told(400, b"no")) as fake:
        code = main(_import_into(fake, tmp_path))
    assert code == 1
    told = capsys.readouterr().err
    assert "1 samples were refused by the store or its format" in told
    assert "1 samples are older than the store keeps any" in told


def _import_into(fake: FakeStore, tmp_path: Path) -> list[str]:
    file = settings(tmp_path / "f.yml", kind="victoriametrics", url=fake.url, flush_interval="50ms")
    data = ["--config", str(file), "--data-dir", str(tmp_path / "data")]
    return ["import", "--quiet", str(tmp_path / "m.om"), *data]


def test_the_store_command_is_for_the_embedded_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = settings(tmp_path / "f.yml", kind="victoriametrics", url="http://127.0.0.1:1")
    assert main(["store", "stats", "--config", str(file)]) == 2
    assert "nothing is kept beside it" in capsys.readouterr().err


class TestVictoria:
    pytestmark = NEEDS_VICTORIA

    @pytest.mark.skipif(
        shutil.which("influxd") is None, reason="not installed: influxd (Debian's influxdb)"
    )
    def test_through_every_store_and_back_bit_for_bit(
        self, store: EmbeddedStore, tmp_path: Path
    ) -> None:
        with victoria() as url, influxd(tmp_path) as influx:
            influx.query('CREATE DATABASE "fleet"')
            kept = {"retention": {"raw": "100y"}, "flush_interval": "50ms"}
            one = {"kind": "influxdb1", "url": influx.url, "database": "fleet", **kept}
            two = {"kind": "victoriametrics", "url": url, "flush_interval": "50ms"}
            sections = {"influx": one, "victoria": two}
            places = [["--data-dir", str(tmp_path / "data")]]
            for name, section in sections.items():
                file = settings(tmp_path / f"{name}.yml", **section)
                places.append(["--config", str(file), "--data-dir", str(tmp_path / name)])
            places.append(["--data-dir", str(tmp_path / "last")])
            for at, (source, target) in enumerate(itertools.pairwise(places)):
                moved(source, target, tmp_path / f"{at}.om")
                visible(url)
        with opened(tmp_path / "last" / "store.db") as back:
            assert everything(back) == everything(store)
        texts = {(tmp_path / f"{at}.om").read_text() for at in range(3)}
        assert len(texts) == 1

    def test_there_and_back_again_bit_for_bit(self, store: EmbeddedStore, tmp_path: Path) -> None:
        file = tmp_path / "out.om"
        first = ["--data-dir", str(tmp_path / "data")]
        last = ["--data-dir", str(tmp_path / "last")]
        with victoria() as url:
            there = {"kind": "victoriametrics", "url": url, "flush_interval": "50ms"}
            middle = ["--config", str(settings(tmp_path / "vm.yml", **there)),
                      "--data-dir", str(tmp_path / "queue")]  # fmt: skip
            moved(first, middle, file)
            visible(url)
            moved(middle, last, tmp_path / "back.om")
        with opened(tmp_path / "last" / "store.db") as back:
            assert everything(back) == everything(store)
        assert (tmp_path / "back.om").read_text() == file.read_text()
