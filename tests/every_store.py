"""The stores that FleetPulse works with, each empty and behind the same few methods."""

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter

from fleetpulse.backend import Storage, open_storage
from fleetpulse.model import Page
from fleetpulse.storage.base import SeriesReader
from fleetpulse.storageconfig import StorageConfig
from tests.influx_server import InfluxServer, influxd
from tests.victoria_peer import NEEDS_VICTORIA, forgotten, victoria, visible

INFLUX2 = ("URL", "TOKEN", "ORG")


class Stores(Protocol):
    """A server of one kind, or none. exact: whether it keeps every value, bit for bit."""

    exact: bool
    forgets: bool

    def empty(self, folder: Path) -> "tuple[dict[str, object], ExitStack]":
        """The storage section of a new, empty store, and what takes it away again."""


class Embedded:
    exact = forgets = True

    def empty(self, folder: Path) -> tuple[dict[str, object], ExitStack]:
        # Nothing is too old for a test.
        retention = {"raw": "100y", "tiers": "100y"}
        return {"kind": "embedded", "retention": retention}, ExitStack()


class Influx1:
    exact = forgets = True

    def __init__(self, server: InfluxServer) -> None:
        self._server = server

    def empty(self, folder: Path) -> tuple[dict[str, object], ExitStack]:
        name = f"t{uuid.uuid4().hex[:12]}"
        self._server.query(f'CREATE DATABASE "{name}"')
        closing = ExitStack()
        closing.callback(self._server.query, f'DROP DATABASE "{name}"')
        config = {"kind": "influxdb1", "url": self._server.url, "database": name}
        return config | {"retention": {"raw": "100y", "tiers": "100y"}}, closing


class Influx2:
    """A server that somebody else runs: buckets are made by setup and taken away again."""

    exact = forgets = True

    def __init__(self, url: str, token: str, org: str) -> None:
        self._given: dict[str, object] = {"url": url, "token": token, "org": org}

    def empty(self, folder: Path) -> tuple[dict[str, object], ExitStack]:
        from fleetpulse.storage.influx.post2 import client_of

        name = f"fleetpulse_test_{uuid.uuid4().hex[:12]}"
        config = {"kind": "influxdb2", "bucket": name, **self._given}
        config["retention"] = {"raw": "100y", "tiers": "100y"}
        client = client_of(TypeAdapter(StorageConfig).validate_python(config))
        bucket = client.buckets_api().create_bucket(bucket_name=name)
        closing = ExitStack()
        closing.callback(client.close)
        closing.callback(client.buckets_api().delete_bucket, bucket)
        return config, closing


class Victoria:
    """A server without databases: one store at a time. It rounds, and has no NaN.

    Its label endpoints go on to tell of what was deleted, as that of earlier tests.
    """

    exact = forgets = False

    def __init__(self, url: str) -> None:
        self._url = url

    def empty(self, folder: Path) -> tuple[dict[str, object], ExitStack]:
        closing = ExitStack()
        closing.callback(forgotten, self._url)
        config = {"kind": "victoriametrics", "url": self._url, "retention_period": "100y"}
        return config, closing


class Store:
    """An open, empty store. write() is back once the samples can be read."""

    def __init__(self, config: Any, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._opened: Storage = self._open()
        self.reader: SeriesReader = self._opened.reader

    def write(self, *pages: Page) -> None:
        self._opened.writer.write(pages)
        if self._config.kind != "embedded":
            # What waits goes out at the end, and a store that takes it is asked anew.
            self._opened.close()
            for refused in (self._folder / "spool").glob("*.rejected"):
                raise AssertionError(refused.read_text())
            if self._config.kind == "victoriametrics":
                visible(self._config.url)
            self._opened = self._open()
            self.reader = self._opened.reader

    def close(self) -> None:
        self._opened.close()

    def _open(self) -> Storage:
        return open_storage(self._config, self._folder, "test", CollectorRegistry())


def kinds() -> Sequence[Any]:
    """Parameters for a fixture: each kind, left out with the reason where it is not to be had."""
    influx2 = [os.environ.get(f"FLEETPULSE_TEST_INFLUX2_{name}", "") for name in INFLUX2]
    no_server = pytest.mark.skipif(
        not all(influx2), reason="FLEETPULSE_TEST_INFLUX2_URL, _TOKEN and _ORG are not set"
    )
    no_influxd = pytest.mark.skipif(
        shutil.which("influxd") is None, reason="not installed: influxd (Debian's influxdb)"
    )
    peer = [pytest.mark.peer, pytest.mark.integration]
    return [
        pytest.param("embedded", id="embedded"),
        pytest.param("influxdb1", id="influxdb1", marks=[*peer, no_influxd]),
        pytest.param("influxdb2", id="influxdb2", marks=[*peer, no_server]),
        pytest.param("victoriametrics", id="victoriametrics", marks=NEEDS_VICTORIA),
    ]


@contextmanager
def stores(kind: str, folder: Path) -> Iterator[Stores]:
    """The server of a kind, for a module's tests."""
    if kind == "embedded":
        yield Embedded()
    elif kind == "victoriametrics":
        with victoria() as url:
            yield Victoria(url)
    elif kind == "influxdb1":
        with influxd(folder) as server:
            yield Influx1(server)
    else:
        yield Influx2(*(os.environ[f"FLEETPULSE_TEST_INFLUX2_{name}"] for name in INFLUX2))


@contextmanager
def opened(running: Stores, folder: Path) -> Iterator[Store]:
    section, closing = running.empty(folder)
    with closing:
        store = Store(TypeAdapter(StorageConfig).validate_python(section), folder)
        closing.callback(store.close)
        yield store
