"""What is known of each server, put together from the store and the push whitelist."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from api.config import PushServer, ServersConfig
from api.pages import PUSH_JOB, target_labels
from api.templates import fill_server
from fleetpulse.matchers import Matcher
from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.promql.result import Matrix, QueryEngine, Vector
from fleetpulse.storage.base import Hints, SeriesReader
from fleetpulse.values import format_duration

State = Literal["up", "down", "stale", "never seen"]
_Key = tuple[str, str]  # job and instance

_IS_UP = Matcher(METRIC_NAME, "=", "up")
_MOST_LOST = 500  # servers whose last sample is looked for further back
_VERSION_METRICS = "node_exporter_build_info|fleetpulse_exporter_build_info"
_FACTS = {
    "uname": "node_uname_info{$server}",
    "os": "node_os_info{$server}",
    "version": f'{{__name__=~"{_VERSION_METRICS}",$server}}',
    "cpus": 'count by (job, instance) (node_cpu_seconds_total{mode="idle",$server})',
    "memory": "node_memory_MemTotal_bytes{$server}",
    "boot": "node_boot_time_seconds{$server}",
}
_FIRING = 'ALERTS{alertstate="firing",$server}'


@dataclass(frozen=True, slots=True)
class LastSample:
    """The last `up` of a target."""

    labels: Labels
    at_ms: int
    value: float


@dataclass(slots=True)
class Server:
    """One target: what /api/v1/servers tells of it. Times in Unix seconds; None is unknown."""

    name: str
    job: str
    address: str
    mode: Literal["scrape", "push"]
    state: State
    last_seen: float | None
    labels: dict[str, str]
    hostname: str | None = None
    os: str | None = None
    kernel: str | None = None
    architecture: str | None = None
    exporter_version: str | None = None
    cpus: int | None = None
    memory_bytes: int | None = None
    boot_time: float | None = None
    firing_alerts: list[dict[str, str]] = field(default_factory=list)


def state_of(last: LastSample | None, now_ms: int, config: ServersConfig) -> State:
    if last is None:
        return "never seen"
    age = (now_ms - last.at_ms) / 1000
    if age > config.down_after:
        return "down"
    if age > config.stale_after:
        return "stale"
    return "up" if last.value == 1 else "down"


class Inventory:
    """Asks the store about servers. Safe from any thread; keeps nothing."""

    def __init__(
        self,
        engine: QueryEngine,
        reader: SeriesReader,
        config: ServersConfig,
        push_servers: Sequence[PushServer],
        push_address: Callable[[str], str],
        timeout: float,
    ) -> None:
        self._engine, self._reader, self._config = engine, reader, config
        self._push_servers, self._push_address = push_servers, push_address
        self._timeout = timeout

    def servers(self, now_ms: int, name: str = "") -> list[Server]:
        """All servers, or those of one name, by name. QueryError and StorageError rise."""
        last = self._last_samples(now_ms, name)
        found = {key: self._seen(sample, now_ms) for key, sample in last.items()}
        for server in self._push_servers:
            labels = target_labels(server)
            if not name or server.name == name:
                found.setdefault(_key(labels), self._never_seen(labels))
        for what, expr in _FACTS.items():
            for labels, value in self._ask(expr, now_ms, name):
                if _key(labels) in found:
                    _note(found[_key(labels)], what, labels, value)
        self._note_alerts(found.values(), now_ms, name)
        return [found[key] for key in sorted(found, key=lambda key: (key[1], key[0]))]

    def _last_samples(self, now_ms: int, name: str) -> dict[_Key, LastSample]:
        """The last `up` of every target of the look-back: first near, then for the lost ones."""
        window = format_duration(max(self._config.down_after, self._config.stale_after))
        expr = fill_server(f"up{{$server}}[{window}]", name)
        data = self._engine.instant(expr, now_ms, timeout=self._timeout).data
        near = data.series if isinstance(data, Matrix) else ()
        found: dict[_Key, LastSample] = {}
        for series in near:
            _keep_latest(found, series.labels, series.times_ms.tolist(), series.values.tolist())
        since_ms = now_ms - round(self._config.lookback * 1000)
        matchers = [_IS_UP, *([Matcher("instance", "=", name)] if name else [])]
        known = self._reader.series([matchers], since_ms, now_ms)
        lost = sorted({labels.get("instance") for labels in known if _key(labels) not in found})
        if lost[:_MOST_LOST]:
            pattern = "|".join(re.escape(instance) for instance in lost[:_MOST_LOST])
            matchers = [_IS_UP, Matcher("instance", "=~", pattern)]
            for series in self._reader.select(matchers, since_ms, now_ms, Hints()):
                values = series.values.tolist()
                _keep_latest(found, series.labels, series.times_ms.tolist(), values)
        return found

    def _seen(self, last: LastSample, now_ms: int) -> Server:
        server = self._server(last.labels, state_of(last, now_ms, self._config))
        server.last_seen = last.at_ms / 1000
        return server

    def _never_seen(self, labels: Labels) -> Server:
        return self._server(labels, "never seen")

    def _server(self, labels: Labels, state: State) -> Server:
        job, name = _key(labels)
        pushes = job == PUSH_JOB or any(
            _key(target_labels(server)) == (job, name) for server in self._push_servers
        )
        return Server(
            name=name,
            job=job,
            address=self._push_address(name) if pushes else name,
            mode="push" if pushes else "scrape",
            state=state,
            last_seen=None,
            labels=dict(labels.without(METRIC_NAME)),
        )

    def _ask(self, expr: str, now_ms: int, name: str) -> Iterable[tuple[Labels, float]]:
        expr = fill_server(expr, name)
        data = self._engine.instant(expr, now_ms, timeout=self._timeout).data
        if isinstance(data, Vector):
            yield from zip(data.labels, data.values.tolist(), strict=True)

    def _note_alerts(self, servers: Iterable[Server], now_ms: int, name: str) -> None:
        firing = [labels for labels, _ in self._ask(_FIRING, now_ms, name)]
        for server in servers:
            for labels in firing:
                same_job = labels.get("job", server.job) == server.job
                if labels.get("instance") == server.name and same_job:
                    alert = {"alertname": labels.get("alertname")}
                    server.firing_alerts.append({**alert, "severity": labels.get("severity")})


def _key(labels: Labels) -> _Key:
    return labels.get("job"), labels.get("instance")


def _keep_latest(
    found: dict[_Key, LastSample], labels: Labels, times: Sequence[int], values: Sequence[float]
) -> None:
    """Notes the last sample that is no staleness marker, unless a later one is known."""
    for at_ms, value in zip(reversed(times), reversed(values), strict=True):
        if value == value:
            known = found.get(_key(labels))
            if known is None or known.at_ms < at_ms:
                found[_key(labels)] = LastSample(labels, at_ms, value)
            return


def _note(server: Server, what: str, labels: Labels, value: float) -> None:
    if what == "uname":
        server.hostname = labels.get("nodename") or None
        server.kernel = labels.get("release") or None
        server.architecture = labels.get("machine") or None
    elif what == "os":
        server.os = labels.get("pretty_name") or labels.get("name") or None
    elif what == "version":
        server.exporter_version = labels.get("version") or None
    elif what == "cpus":
        server.cpus = int(value)
    elif what == "memory" and value == value:
        server.memory_bytes = int(value)
    elif what == "boot" and value == value:
        server.boot_time = value
