"""Writing to a real InfluxDB 1: nothing lost, nothing changed, faults that say how to mend them."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from fleetpulse.lineprotocol import told
from fleetpulse.model import METRIC_NAME, STALE_NAN, Labels, Page
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.writer import open_writer
from fleetpulse.storage.spooled import SpooledWriter
from tests.influx_server import InfluxServer, influxd
from tests.support import free_port, needs, wait_for

pytestmark = [pytest.mark.peer, pytest.mark.integration, needs("influxd")]

AT = 1_700_000_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    with influxd(tmp_path_factory.mktemp("influxd")) as running:
        yield running


@pytest.fixture
def db(server: InfluxServer) -> Iterator[str]:
    server.query("CREATE DATABASE fleet")
    yield "fleet"
    server.query("DROP DATABASE fleet")


def config(server: InfluxServer, **more: object) -> Influx1Config:
    given = {"kind": "influxdb1", "url": server.url, "database": "fleet", "flush_interval": "50ms"}
    return Influx1Config.model_validate(given | more)


def opened(server: InfluxServer, folder: Path, **more: object) -> SpooledWriter:
    return open_writer(config(server, **more), folder / "spool.db", CollectorRegistry())


def page(lines: dict[Labels, float], at_ms: int = AT) -> Page:
    return Page.of(Labels.of(instance="web1:9100", job="node"), at_ms, lines)


def line(name: str, **labels: str) -> Labels:
    return Labels.of({METRIC_NAME: name}, **labels)


def rows(
    server: InfluxServer, name: str, db: str = "fleet"
) -> list[tuple[dict[str, str], dict[str, object]]]:
    """Tags and the one row's columns of each series."""
    found = []
    for series in server.query(f'SELECT * FROM "{name}" GROUP BY *', db):
        columns, values = series["columns"], series["values"]
        assert isinstance(columns, list)
        assert isinstance(values, list)
        tags = series.get("tags", {})
        assert isinstance(tags, dict)
        found += [(tags, dict(zip(columns, row, strict=True))) for row in values]
    return found


@pytest.mark.usefixtures("db")
def test_values_markers_and_what_is_no_number_come_through(
    server: InfluxServer, tmp_path: Path
) -> None:
    values = [0.1 + 0.2, -0.0, 5e-324, STALE_NAN, math.nan, math.inf, -math.inf]
    writer = opened(server, tmp_path)
    writer.write([page({line("m", n=str(n)): value for n, value in enumerate(values)})])
    writer.close()
    found = {tags["n"]: row for tags, row in rows(server, "m")}
    assert len(found) == len(values)
    assert [found[str(n)]["value"] for n in range(3)] == values[:3]
    assert found["3"]["stale"] is True
    assert [found[str(n)]["special"] for n in (4, 5, 6)] == ["NaN", "+Inf", "-Inf"]


# All that a label may be; lone surrogates are no text, NUL is not InfluxDB's to keep.
LABEL = st.text(
    st.characters(exclude_categories=["Cs", "Co"], exclude_characters="\0"), min_size=1, max_size=8
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=5)
@given(st.lists(LABEL, min_size=50, max_size=50, unique=True))
def test_every_label_value_comes_back(
    server: InfluxServer, tmp_path: Path, texts: list[str]
) -> None:
    server.query("DROP DATABASE labels; CREATE DATABASE labels")
    texts += [
        "a\\",
        "\\",
        "a\nb",
        "\\\n",
        "a\\,b",
        'a"b',
        " a ",
        ",",
        "=",
        "\\ ",
        "a\\=",
        "\t",
        "\r",
    ]
    texts = list(dict.fromkeys(texts))
    writer = opened(server, tmp_path, database="labels")
    writer.write([page({line("m", text=text): float(n) for n, text in enumerate(texts)})])
    writer.close()
    assert writer.backlog() == 0
    assert not (tmp_path / "spool.db.rejected").exists()
    back = {told(tags["text"]): row["value"] for tags, row in rows(server, "m", "labels")}
    assert back == {text: n for n, text in enumerate(texts)}


@pytest.mark.usefixtures("db")
def test_names_that_mean_something_else_there(server: InfluxServer, tmp_path: Path) -> None:
    names = ["time", "value", "stale", "_field", "ordinary", "with space", "ünïcode"]
    writer = opened(server, tmp_path)
    writer.write([page({line("names", **{name: "x"}): 1.0 for name in names})])
    writer.close()
    given = {told(name) for tags, _ in rows(server, "names") for name, text in tags.items() if text}
    assert given == {*names, "instance", "job"}


@pytest.mark.usefixtures("db")
def test_the_same_sample_twice_is_one_and_the_last_wins(
    server: InfluxServer, tmp_path: Path
) -> None:
    writer = opened(server, tmp_path)
    for value in (1.0, 1.0, 2.0):
        writer.write([page({line("m"): value})])
    writer.close()
    assert [row["value"] for _, row in rows(server, "m")] == [2]


@pytest.mark.usefixtures("db")
def test_only_the_bad_lines_of_a_batch_are_set_aside(server: InfluxServer, tmp_path: Path) -> None:
    server.write("fleet", f'bad value="text" {AT}\n')
    writer = opened(server, tmp_path)
    writer.write([page({line("good", n=str(n)): 1.0 for n in range(50)})])
    writer.write([page({line("bad", n=str(n)): 1.0 for n in range(3)})])
    writer.write([page({line("good", n=str(n)): 2.0 for n in range(50, 99)})])
    writer.close()
    assert len(rows(server, "good")) == 99
    kept = (tmp_path / "spool.db.rejected").read_text().splitlines()
    assert [text.split(" ")[0] for text in kept[1::2]] == [
        f"bad,instance=web1:9100,job=node,n={n}" for n in range(3)
    ]
    assert all("field type conflict" in reason for reason in kept[::2])


@pytest.mark.usefixtures("db")
def test_a_database_dropped_while_running_loses_nothing_that_comes_after(
    server: InfluxServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = opened(server, tmp_path)
    writer.write([page({line("m"): 1.0})])
    wait_for("the first", lambda: rows(server, "m"))
    server.query("DROP DATABASE fleet")
    writer.write([page({line("m"): 2.0}, AT + 1)])
    wait_for("the refusal", lambda: "database not found" in caplog.text)
    assert "check storage.database" in caplog.text
    assert "none is lost" in caplog.text
    server.query("CREATE DATABASE fleet")
    writer.close()  # tries once more, whatever the back-off
    assert [row["value"] for _, row in rows(server, "m")] == [2]


@pytest.mark.usefixtures("db")
def test_points_beyond_the_policy_are_set_aside_and_the_others_stored(
    server: InfluxServer, tmp_path: Path
) -> None:
    server.query('CREATE RETENTION POLICY "hour" ON fleet DURATION 1h REPLICATION 1 DEFAULT')
    writer = opened(server, tmp_path, retention_policy="hour")
    writer.write([page({line("old", n=str(n)): 1.0 for n in range(20)}, 1000)])
    writer.close()
    assert rows(server, "old") == []
    kept = (tmp_path / "spool.db.rejected").read_text()
    assert kept.count("beyond retention policy") == 20


def test_a_server_that_is_away_gets_everything_when_it_is_back(tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "influxd"
    folder.mkdir()
    with influxd(folder, port=port) as running:
        running.query("CREATE DATABASE fleet")
        writer = opened(running, tmp_path)
        writer.write([page({line("m"): 0.0})])
        wait_for("the first", lambda: rows(running, "m"))
    # Half an hour of pages while it is away, and the writer's process ends in between.
    for turn in range(1, 181):
        writer.write([page({line("m"): float(turn)}, AT + turn * 10_000)])
        if turn == 90:
            writer.close()
            writer = opened(running, tmp_path)
    with influxd(folder, port=port) as running:
        writer.close()
        assert [row["value"] for _, row in rows(running, "m")] == [*range(181)]


def test_a_user_who_may_only_read_is_told_so_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "influxd"
    folder.mkdir()
    with influxd(folder, auth=True) as running:
        running.query("CREATE USER root WITH PASSWORD 'r' WITH ALL PRIVILEGES")
        root = InfluxServer(running.url, ("root", "r"))
        root.query(
            "CREATE DATABASE fleet; CREATE USER u WITH PASSWORD 'p'; GRANT READ ON fleet TO u"
        )
        login = {"username": "u", "password": "p"}
        writer = opened(running, tmp_path, **login)
        writer.write([page({line("m"): 1.0})])
        wait_for("the refusal", lambda: "HTTP 403" in caplog.text)
        assert "that the user may write" in caplog.text
        wrong = opened(running, tmp_path / "other", username="u", password="wrong")
        wrong.write([page({line("m"): 1.0})])
        wait_for("the other refusal", lambda: "HTTP 401" in caplog.text)
        assert "wrong" not in caplog.text
        root.query("GRANT ALL ON fleet TO u")
        writer.close()
        wrong.close()
        assert [row["value"] for _, row in rows(root, "m")] == [1]
