"""`fleetpulse store`, `export` and `import`, as typed."""

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fleetpulse.errors import StartError
from fleetpulse.model import STALE_BITS, STALE_NAN, Labels
from fleetpulse_cli.asked import read_range, read_time
from fleetpulse_cli.export import labels_text
from fleetpulse_cli.main import main
from tests.store_fakes import T0, everything, line, opened, page

HOST = Labels.of(job="node", instance="h:1")
ODD = {
    line("odd", value='quote " slash \\ newline \n end'): 1.5,
    line("odd", value="ünïcode ✓, {brace} # hash"): -0.0,
    line("limit", kind="inf"): math.inf,
    line("limit", kind="-inf"): -math.inf,
    line("limit", kind="nan"): math.nan,
    line("limit", kind="stale"): STALE_NAN,
    line("limit", kind="small"): 5e-324,
    line("limit", kind="large"): 1.7976931348623157e308,
    line("limit", kind="exact"): 0.1 + 0.2,
    line("dotted.name", **{"dotted.label": "x"}): 7.0,
}
NANS = ["NaN", "nan", "NAN", "nAN", "nan", "nAN"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    with opened(folder / "store.db") as store:
        for at in (0, 1, 1441, -9_000_000):
            store.write([page(HOST, T0 + at * 1001, ODD)])
    return folder


def test_what_is_exported_is_imported_bit_for_bit(tmp_path: Path, data: Path) -> None:
    file, other = tmp_path / "out.om", tmp_path / "other"

    assert main(["export", '{job="node"}', "-o", str(file), "--data-dir", str(data)]) == 0
    assert main(["import", "--quiet", str(file), "--data-dir", str(other)]) == 0

    with opened(data / "store.db") as one, opened(other / "store.db") as two:
        assert everything(one) == everything(two)
    assert file.read_text(encoding="utf-8").endswith("# EOF\n")


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_an_export(tmp_path: Path) -> None:
    file, blocks = tmp_path / "out.om", tmp_path / "blocks"
    with opened(tmp_path / "store.db") as store:
        # The promtool of Debian knows no names in quotes.
        plain = {one: value for one, value in ODD.items() if one.name != "dotted.name"}
        store.write([page(HOST, T0 + at, plain) for at in (0, 1)])
    assert main(["export", '{job="node"}', "-o", str(file), "--data-dir", str(tmp_path)]) == 0

    promtool = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(file), str(blocks)]
    done = subprocess.run(promtool, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert list(blocks.glob("*/meta.json"))


def test_a_nan_of_another_program_is_no_staleness_marker(tmp_path: Path) -> None:
    file = tmp_path / "m.om"
    file.write_text("".join(f"a {text} {at}\n" for at, text in enumerate(NANS)) + "# EOF\n")

    assert main(["import", "--quiet", str(file), "--data-dir", str(tmp_path)]) == 0

    with opened(tmp_path / "store.db") as store:
        ((_, samples),) = everything(store).items()
    stale = [value == STALE_BITS for value in samples.values()]
    assert stale == [text == "nAN" for text in NANS]


def test_an_export_is_bounded_by_matcher_and_time(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = ["--start", str(T0 / 1000), "--end", "2023-11-14T22:00:01.001Z"]
    assert main(["export", 'odd{value=~"quote.*"}', *bounds, "--data-dir", str(data)]) == 0

    begin = 'odd{instance="h:1",job="node",value="quote \\" slash \\\\ newline \\n end"} 1.5'
    assert capsys.readouterr().out.splitlines() == [
        f"{begin} 1699999200.000",
        f"{begin} 1699999201.001",
        "# EOF",
    ]


def test_what_promtool_dumps_is_imported(tmp_path: Path) -> None:
    dump = (
        'go_gc{instance="a:1",job="x"} 3 1700000000.000\n'
        'go_gc{instance="a:1",job="x"} NaN 1700000015.123\n'
        "bare{} 1.0267820369e+10 1700000000.000\n"
        "bare{} +Inf 1700000015.000\n"
        "# EOF\n"
    )
    (tmp_path / "d.om").write_text(dump)

    assert main(["import", "--quiet", str(tmp_path / "d.om"), "--data-dir", str(tmp_path)]) == 0

    with opened(tmp_path / "store.db") as store:
        found = {str(labels): list(samples) for labels, samples in everything(store).items()}
    assert found == {
        "bare": [1_700_000_000_000, 1_700_000_015_000],
        'go_gc{instance="a:1", job="x"}': [1_700_000_000_000, 1_700_000_015_123],
    }


FAULTS = [
    pytest.param("a 1 1\na 1_0 2\n# EOF\n", "line 2", id="an underscore in a value"),
    pytest.param("a 1 1\na 1 2_0\n# EOF\n", "line 2", id="an underscore in a time"),
    pytest.param("a 1 1\na 1e999 2\n# EOF\n", "line 2", id="a value too large"),
    pytest.param("a 1 1\na 1 inf\n# EOF\n", "line 2", id="no time"),
    pytest.param("a 1 1\na 1 1e15\n# EOF\n", "line 2", id="a time too far"),
    pytest.param("a 1 1\n# EOF\na 1 2\n", "line 3", id="after the end"),
    pytest.param("a 1 1\na 1 2\na 1 3\n", "line 3.*EOF", id="cut short"),
    pytest.param("a 1 1\na 1 2\na\n# EOF\n", "line 3", id="after lines that are known"),
]


@pytest.mark.parametrize(("text", "told"), FAULTS)
def test_what_is_known_already_is_read_as_strictly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (tmp_path / "m.om").write_text(text)

    assert main(["import", "--quiet", str(tmp_path / "m.om"), "--data-dir", str(tmp_path)]) == 2

    captured = capsys.readouterr()
    assert re.search(told, captured.err), captured.err


def test_stats_tell_what_there_is(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "stats", "--format", "json", "--data-dir", str(data)]) == 0
    told = json.loads(capsys.readouterr().out)

    assert (told["series"], told["samples"]) == (10, 40)
    assert told["series_by_metric"] == {"limit": 7, "odd": 2, "dotted.name": 1}
    assert told["bytes_per_sample"] > 0
    assert main(["store", "stats", "--limit", "1", "--data-dir", str(data)]) == 0
    table = capsys.readouterr().out
    assert "limit" in table
    assert "and 2 more" in table


def test_a_store_is_compacted_backed_up_and_restored(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data-dir", str(data)]
    with opened(data / "store.db") as store:
        before = everything(store)

    assert main(["store", "compact", *where]) == 0
    assert "4 pages became" in capsys.readouterr().out
    assert main(["store", "verify", *where]) == 0
    assert main(["store", "backup", str(tmp_path / "b.db"), *where]) == 0
    assert main(["store", "delete", "limit", "--start", "0", "--end", "now", "--yes", *where]) == 0
    assert "28 samples deleted" in capsys.readouterr().err
    assert main(["store", "restore", str(tmp_path / "b.db"), *where]) == 0

    with opened(data / "store.db") as store:
        assert everything(store) == before


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("", 1), ("yes\n", 0)])
def test_delete_asks(data: Path, answer: str, code: int) -> None:
    command = [sys.executable, "-m", "fleetpulse_cli.main", "store", "delete", "odd"]
    command += ["--start", "0", "--end", "now", "--data-dir", str(data)]
    done = subprocess.run(command, input=answer, capture_output=True, text=True, check=False)

    assert done.returncode == code
    assert "Delete samples of 2 series" in done.stderr
    with opened(data / "store.db") as store:
        assert len(everything(store)) == (8 if code == 0 else 10)


def test_verify_has_findings_for_what_is_no_store(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "store.db").write_bytes(b"nothing of the kind" * 1000)

    assert main(["store", "verify", "--data-dir", str(data)]) == 1
    assert "not a FleetPulse store" in capsys.readouterr().out


MISTAKES = [
    pytest.param(["store", "stats"], "no store there", id="no store"),
    pytest.param(["export", "rate(up[5m])"], "is no selector", id="no selector"),
    pytest.param(["export", "up offset 5m"], "is no selector", id="an offset"),
    pytest.param(["export", "up", "--start", "soon"], "is no time", id="no time"),
    pytest.param(["export", "up", "--start", "9", "--end", "8"], "is after", id="backwards"),
]


@pytest.mark.parametrize(("arguments", "told"), MISTAKES)
def test_mistakes_are_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main([*arguments, "--data-dir", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


def test_times_as_people_write_them() -> None:
    assert read_time("2h", 10_000.0) == 2_800_000
    assert read_time("1.5", 0.0) == 1500
    assert read_time("1970-01-01T00:00:01z", 0.0) == 1000
    assert read_range("1h", None, 3600.0)[0] == 0
    with pytest.raises(StartError):
        read_time("1970-01-01T00:00:01", 0.0)


def test_names_beyond_openmetrics_are_quoted() -> None:
    labels = Labels.of({"__name__": "a.b", "c.d": "e", "f": "g"})
    assert labels_text(labels) == '{"a.b","c.d"="e",f="g"}'
