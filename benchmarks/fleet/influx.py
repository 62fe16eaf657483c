"""A real InfluxDB 1 with a fleet's samples in it, for benchmarks that read them."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from fleetpulse.model import Page
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.writer import open_writer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.influx_server import influxd
from tests.support import wait_for


@contextmanager
def filled(folder: Path, turns: Iterable[Sequence[Page]]) -> Iterator[Influx1Config]:
    """How to reach it once all pages are there, through the writer that every role has."""
    inside = folder / "influxd"
    inside.mkdir()
    with influxd(inside) as server:
        server.query("CREATE DATABASE fleet")
        given = {"kind": "influxdb1", "url": server.url, "database": "fleet"}
        config = Influx1Config.model_validate(given | {"retention": {"raw": "10y", "tiers": "0s"}})
        writer = open_writer(config, folder / "spool.db", CollectorRegistry())
        for pages in turns:
            writer.write(pages)
        wait_for("all samples to be sent", lambda: writer.backlog() == 0, 120)
        writer.close()
        rejected = folder / "spool.db.rejected"
        if rejected.exists():
            sys.exit(f"samples were refused: {rejected.read_text()[:1000]}")
        yield config
