"""The store that the configuration names."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter, ValidationError

from fleetpulse.backend import EngineLimits, open_storage
from fleetpulse.errors import QueryError, StorageError
from fleetpulse.model import Labels, Metadata, Page
from fleetpulse.promql.config import PromqlConfig
from fleetpulse.promql.result import Vector
from fleetpulse.storage.base import Hints
from fleetpulse.storage.influx.codec import InfluxCodec
from fleetpulse.storage.spool import Spool
from fleetpulse.storageconfig import AnyStore, EmbeddedConfig, StorageConfig

PAGE = Page.of(Labels.of(job="a"), 60_000, {Labels.of(__name__="up"): 1.0})
# Nothing listens on port 1: what is written stays in the queue.
INFLUX = {"kind": "influxdb2", "url": "http://127.0.0.1:1", "org": "o", "bucket": "b", "token": "t"}


def config(section: dict[str, Any]) -> AnyStore:
    found: AnyStore = TypeAdapter(StorageConfig).validate_python(section)
    return found


@pytest.mark.parametrize("section", [{}, {"kind": "embedded"}], ids=["none", "own"])
def test_what_is_written_can_be_asked_for(section: dict[str, Any], tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with open_storage(config(section), tmp_path, "scraper", registry) as storage:
        storage.writer.write([PAGE])
        data = storage.engine.instant("up + 1", 61_000).data
    assert isinstance(data, Vector)
    assert (list(data.labels), data.values.tolist()) == ([Labels.of(job="a")], [2.0])


def test_the_language_is_as_configured(tmp_path: Path) -> None:
    section = PromqlConfig.model_validate({"lookback": "1s", "experimental": True})
    limits = EngineLimits(promql=section)
    with open_storage(config({}), tmp_path, "api", CollectorRegistry(), limits) as storage:
        storage.writer.write([PAGE])
        near, far = (storage.engine.instant("limitk(1, up)", at).data for at in (60_999, 61_000))
    assert isinstance(near, Vector)
    assert isinstance(far, Vector)
    assert (len(near.labels), len(far.labels)) == (1, 0)


def test_experimental_functions_are_not_there_by_default(tmp_path: Path) -> None:
    with (
        open_storage(config({}), tmp_path, "api", CollectorRegistry()) as storage,
        pytest.raises(QueryError, match=r"promql\.experimental: true"),
    ):
        storage.engine.instant("limitk(1, up)", 0)


def test_what_is_for_influxdb_waits_on_disk(tmp_path: Path) -> None:
    with open_storage(config(INFLUX), tmp_path, "scraper", CollectorRegistry()) as storage:
        storage.writer.write([PAGE])
    spool = Spool(tmp_path / "spool" / "scraper.db")
    ((_, waiting),) = spool.peek(10)
    spool.close()
    assert InfluxCodec().split(waiting) == [b"up,job=a value=1.0 60000\n"]


def test_the_store_is_where_its_path_says(tmp_path: Path) -> None:
    section = EmbeddedConfig(path=tmp_path / "elsewhere.db")
    with open_storage(section, tmp_path / "data", "api", CollectorRegistry()):
        assert (tmp_path / "elsewhere.db").exists()


def test_a_store_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageError):
        open_storage(config({}), tmp_path, "api", CollectorRegistry())


def test_metadata_of_metrics_is_kept_beside_influxdb(tmp_path: Path) -> None:
    told = {"up": Metadata("gauge", "Whether it is up.", "")}
    with open_storage(config(INFLUX), tmp_path, "scraper", CollectorRegistry()) as storage:
        storage.writer.describe(told)
    with open_storage(config(INFLUX), tmp_path, "api", CollectorRegistry()) as storage:
        assert storage.reader.metadata() == told


def test_an_influxdb_that_is_away_is_an_error_that_names_it(tmp_path: Path) -> None:
    with (
        open_storage(config(INFLUX), tmp_path, "api", CollectorRegistry()) as storage,
        pytest.raises(StorageError, match=r"influxdb2 at http://127\.0\.0\.1:1: cannot be reached"),
    ):
        storage.engine.instant("up", 0)


def test_a_damaged_blob_is_counted_by_kind(tmp_path: Path) -> None:
    registry, name = CollectorRegistry(), "fleetpulse_store_damaged_blobs_total"
    with open_storage(config({}), tmp_path, "scraper", registry) as storage:
        storage.writer.write([PAGE])
        assert registry.get_sample_value(name, {"kind": "page"}) == 0
        with closing(sqlite3.connect(tmp_path / "store.db")) as db:
            db.execute("UPDATE page SET vals = zeroblob(8)")
            db.commit()
        for _ in range(2):
            assert not storage.reader.select([], 0, 61_000, Hints())
    assert registry.get_sample_value(name, {"kind": "page"}) == 1


def test_retention_is_told_by_selectors() -> None:
    found = config(
        {
            "retention": {
                "raw": "2d",
                "overrides": [
                    {"match": '{__name__=~"node_cpu.*"}', "raw": "30d", "tiers": "1y"},
                    {"match": 'up{job="db"}', "tiers": "0"},
                ],
            },
            "max_size": "20GB",
        }
    )
    keeping = found.retention.keeping(found.max_size or 0)
    day = 86_400.0
    assert (keeping.raw, keeping.tiers, keeping.max_bytes) == (2 * day, 30 * day, 20 << 30)
    assert [(str(one.matchers[0]), one.raw, one.tiers) for one in keeping.rules] == [
        ('__name__=~"node_cpu.*"', 30 * day, 365 * day),
        ('__name__="up"', 2 * day, 0.0),
    ]


WRONG = [
    pytest.param("up[5m]", "no plain selector", id="a range"),
    pytest.param("up offset 5m", "no plain selector", id="an offset"),
    pytest.param("sum(up)", "no plain selector", id="an expression"),
    pytest.param("{", "unexpected", id="no PromQL"),
]


@pytest.mark.parametrize(("match", "message"), WRONG)
def test_what_is_no_selector_is_refused(match: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config({"retention": {"overrides": [{"match": match}]}})
