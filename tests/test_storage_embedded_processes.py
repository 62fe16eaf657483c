"""Real processes on one file: what is committed stays, whoever dies and whoever else writes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import CompactionLimits
from tests.store_fakes import MINUTE, T0, bits, everything, line, opened
from tests.store_processes import LINES, at_ms, value

pytestmark = pytest.mark.integration

LATE = T0 + 600 * MINUTE


@contextmanager
def running(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.store_processes", *map(str, arguments)]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)


def read_lines(stream: IO[str] | None, count: int) -> list[int]:
    assert stream is not None
    return [int(stream.readline()) for _ in range(count)]


def rest_of(stream: IO[str] | None) -> list[int]:
    """The whole lines that were on their way when the process died."""
    assert stream is not None
    return [int(text) for text in stream.read().splitlines(keepends=True) if text.endswith("\n")]


def check_whole(path: Path, told: int) -> None:
    """Everything up to the turn last told is there, and each page whole."""
    with opened(path, now_ms=LATE) as store:
        found = everything(store, Matcher("__name__", "=", "m"))
        turns = len(found[Labels.of(host="h").merged(LINES[0])])
        assert turns >= told + 1
        for number, one in enumerate(LINES):
            expected = {at_ms(turn): bits([value(turn, number)])[0] for turn in range(turns)}
            assert found[Labels.of(host="h").merged(one)] == expected


def test_a_killed_writer_loses_no_committed_page(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with running("write", path) as writer:
        told = read_lines(writer.stdout, 30)
        writer.kill()
        told += rest_of(writer.stdout)

    check_whole(path, told[-1])
    with running("write", path) as writer:  # and the next one goes on with the same file
        assert read_lines(writer.stdout, 2) == [0, 1]


def test_a_killed_compaction_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with running("write", path) as writer, running("compact", path) as compactor:
        told = read_lines(writer.stdout, 40)
        while not any(read_lines(compactor.stdout, 1)):
            pass
        told += read_lines(writer.stdout, 40)
        compactor.kill()
        told += read_lines(writer.stdout, 5)
        writer.kill()
        told += rest_of(writer.stdout)

    check_whole(path, told[-1])
    with opened(path, now_ms=LATE) as store:
        before = everything(store)
        # The lock of the dead process does not stand in the way.
        assert not store.compact(CompactionLimits(min_age=0, gather=0)).busy
        assert store.stats().pages == 0
        assert everything(store) == before


def test_many_processes_read_while_one_writes_and_one_compacts(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with running("write", path) as writer:
        read_lines(writer.stdout, 1)
        with running("compact", path), opened(path, read_only=True) as one, opened(path) as two:
            seen = 0
            for _ in range(20):
                read_lines(writer.stdout, 2)
                for store in (one, two):
                    series = store.select([], T0, LATE, Hints())
                    # One state of the store: all series of the target end with the same page,
                    # though pages become chunks under way, and none ever gets shorter.
                    assert len(series) == len(LINES)
                    lengths = {len(found.times_ms) for found in series}
                    assert len(lengths) == 1
                    assert min(lengths) >= seen
                    seen = min(lengths)


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.db"  # which none of them finds and all of them want to make
    hosts, count = ["a", "b", "c"], 60
    with (
        running("burst", path, "a", str(count)) as a,
        running("burst", path, "b", str(count)) as b,
        running("burst", path, "c", str(count)) as c,
    ):
        assert [process.wait(60) for process in (a, b, c)] == [0, 0, 0]

    with opened(path) as store:
        found = everything(store)
        stats = store.stats()
    expected = dict(zip(map(at_ms, range(count)), bits(range(count)), strict=True))
    for host in hosts:
        assert found[Labels.of(target=host).merged(line("shared"))] == expected
    assert len(found) == len(hosts) * (1 + count // 10)
    assert (stats.targets, stats.lines, stats.layouts) == (3, 1 + 18, 18)
