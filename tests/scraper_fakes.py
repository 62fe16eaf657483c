"""Targets that behave and misbehave over real loopback sockets, and a writer that keeps pages."""

import asyncio
import contextlib
import gzip
import ssl
import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from prometheus_client import CollectorRegistry

from fleetpulse.errors import StorageError
from fleetpulse.model import Labels, Metadata, Page, is_stale
from fleetpulse.telemetry import new_registry
from fleetpulse.yamlconf import parse_model
from scraper.config import ScraperConfig
from scraper.guards import Guards, GuardsConfig
from scraper.job import ScrapeJob
from scraper.metrics import DiscoveryMetrics, GuardMetrics
from scraper.sdconfig import TargetGroup
from scraper.sources import Sources
from scraper.targets import Job, Target, discovered_labels, make_target
from tests.support import wait_for

PAGE = b"# HELP one The one.\n# TYPE one gauge\none 1\ntwo 2\n"
BOMB = gzip.compress(b"# " + b"x" * 2_000_000)


class Targets:
    """HTTP servers in one thread, on one or many loopback addresses; the path says how they behave.

    /metrics gives page, which a test may replace; /hang, /endless, /bomb, /half, /status,
    /kind and /away, /same, /loop, /odd (redirects) are what their names say. What is in served
    comes before all of them.
    """

    def __init__(
        self, hosts: Sequence[str] = ("127.0.0.1",), tls: ssl.SSLContext | None = None
    ) -> None:
        self.page = PAGE
        self.content_type = "text/plain; version=0.0.4"
        self.away = ""  # where /away redirects to
        self.served: dict[str, tuple[bytes, str]] = {}  # body and Content-Type by path
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        self._hosts, self._tls = hosts, tls
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def addresses(self) -> list[str]:
        names = [server.sockets[0].getsockname() for server in self._servers]
        return [f"{host}:{port}" for host, port in names]

    @property
    def address(self) -> str:
        return self.addresses[0]

    async def _open(self) -> None:
        for host in self._hosts:
            self._servers.append(await asyncio.start_server(self._serve, host, 0, ssl=self._tls))

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._one(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass
        finally:
            self._clients.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        path = head[0].split()[1]
        parts = (line.lower().partition(":") for line in head[1:] if line)
        headers = {name: value.strip() for name, _, value in parts}
        self.requests.append((path, headers))
        plain = path.partition("?")[0]
        if plain in self.served:
            body, kind = self.served[plain]
            _answer(writer, body, *([f"Content-Type: {kind}"] if kind else []))
        else:
            behave: Callable[[asyncio.StreamWriter], Any] = getattr(
                self, "_path_" + plain.strip("/"), self._path_metrics
            )
            await behave(writer)
        await writer.drain()
        return True

    async def _path_metrics(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, self.page, f"Content-Type: {self.content_type}")

    async def _path_hang(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async def _path_endless(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"one 1\n" * 1000)
            await writer.drain()

    async def _path_bomb(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, BOMB, "Content-Encoding: gzip")

    async def _path_half(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\none 1\n")
        await writer.drain()
        writer.close()
        raise ConnectionError

    async def _path_middle(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\none 1\n")
        await asyncio.sleep(3600)

    async def _path_drip(self, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async def _path_garbage(self, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(range(256)) * 10)
        await writer.drain()
        raise ConnectionError

    async def _path_binary(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, bytes(range(256)) * 100)

    async def _path_line(self, writer: asyncio.StreamWriter) -> None:
        """A line of 1 GB, as far as anybody reads it."""
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\none{x="')
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async def _path_headers(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: more\r\n" * 1000)
            await writer.drain()

    async def _path_chunks(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n")

    async def _path_notgzip(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, self.page, "Content-Encoding: gzip")

    async def _path_zip(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, gzip.compress(self.page), "Content-Encoding: gzip")

    async def _path_status(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, b"no", status="503 Service Unavailable")

    async def _path_away(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, b"", f"Location: {self.away}", status="302 Found")

    async def _path_same(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, b"", "Location: /metrics", status="302 Found")

    async def _path_odd(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, b"", "Location: http://w\xe9b:x/\xff", status="302 Found")

    async def _path_kind(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, self.page, "Content-Type: text/pl\xe9in\xff")

    async def _path_loop(self, writer: asyncio.StreamWriter) -> None:
        _answer(writer, b"", "Location: /loop", status="302 Found")


def _answer(
    writer: asyncio.StreamWriter, body: bytes, *headers: str, status: str = "200 OK"
) -> None:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    writer.write("\r\n".join(lines).encode("latin-1") + body)


class MemoryWriter:
    """A SampleWriter that keeps everything. fail is raised instead while it is set."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.metadata: dict[str, Metadata] = {}
        self.writes = 0
        self.fail: StorageError | None = None
        self.refused: Callable[[Page], bool] = lambda page: False
        self._lock = threading.Lock()

    def write(self, pages: Sequence[Page]) -> None:
        self.writes += 1
        if self.fail is not None:
            raise self.fail
        if any(self.refused(page) for page in pages):
            raise StorageError("a bad page", retriable=False)
        with self._lock:
            self.pages.extend(pages)

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        self.metadata.update(metadata)

    def close(self) -> None:
        """Nothing is open."""

    def samples(self, name: str, **labels: str) -> list[tuple[int, float | None]]:
        """Time and value of the series' samples, None for a staleness marker."""
        with self._lock:
            pages = list(self.pages)
        return [
            (at_ms, value)
            for page in pages
            for full, at_ms, value in samples_of(page)
            if full.name == name and labels.items() <= full.as_dict().items()
        ]

    def values(self, name: str, **labels: str) -> list[float | None]:
        return [value for _, value in self.samples(name, **labels)]

    def wait_values(self, count: int, name: str, **labels: str) -> list[float | None]:
        """The series' values as soon as there are so many."""

        def look() -> list[float | None] | None:
            values = self.values(name, **labels)
            return values if len(values) >= count else None

        return wait_for(f"{count} samples of {name} {labels}", look)


def samples_of(page: Page) -> list[tuple[Labels, int, float | None]]:
    """Labels, time and value of a page's samples, None for a staleness marker."""
    times = page.times_ms or array("q", [page.at_ms]) * len(page.layout)
    return [
        (page.target.merged(line), at_ms, None if is_stale(value) else value)
        for line, at_ms, value in zip(page.layout.lines, times, page.values, strict=True)
    ]


def config_of(text: str, base: Any = None) -> ScraperConfig:
    from pathlib import Path

    return parse_model(text, ScraperConfig, file="fleetpulse.yml", base=base or Path())


def no_sources() -> Sources:
    return Sources(lambda config: [], DiscoveryMetrics(new_registry()))


def job_of(**settings: Any) -> Job:
    """A job with settings of Prometheus' scrape config."""
    section = ScraperConfig()
    settings.setdefault("job_name", "node")
    return Job.of(ScrapeJob.model_validate(settings), section)


def target_of(job: Job, address: str = "web-1:9100", **labels: str) -> Target:
    group = TargetGroup(targets=(address,), labels=labels)
    target = make_target(job, discovered_labels(job, group, address, ""))
    assert target is not None
    return target


def guards_of(
    clock: Callable[[], float] = lambda: 0.0,
    registry: CollectorRegistry | None = None,
    **config: int,
) -> Guards:
    """Guards with limits of their own, none where nothing is said."""
    none = {"series_per_target": 0, "series": 0, "new_series_per_minute": 0}
    metrics = GuardMetrics(registry or new_registry())
    return Guards(GuardsConfig.model_validate({**none, **config}), metrics, clock)
