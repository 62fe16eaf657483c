"""An API that is away, an exporter that is killed: every page arrives once, with its own time."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry

from api.app import create_app
from api.config import ApiConfig
from api.keys import KeyStore
from exporter.push.answer import Answer, Verdict, judge
from exporter.push.backoff import Backoff
from exporter.push.pusher import Pusher
from fleetpulse.matchers import Matcher
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse.storage.spool import Spool
from tests.api_fakes import NOW, FakeEngine, bearer

INTERVAL = 10.0
MINUTE = 60.0
_REQUEST = 0.02  # seconds that one takes
_PER_SECOND = 10  # requests that the API takes of a key


class KilledError(BaseException):
    """What kill -9 does to whoever is under way."""


class Central:
    """A real API over a real store, as it looks from a host: it may be away, and restart."""

    def __init__(self, folder: Path, clock: "World") -> None:
        self._clock = clock
        self.store = EmbeddedStore(folder / "store.db", now=clock.now)
        self._keys = KeyStore(folder / "keys.json", now=clock.now)
        self._key = self._keys.create("push", "web1")[1]
        self.away = False
        self.after_storing: Callable[[], Answer | None] = lambda: None
        self.arrived: list[float] = []
        self._taken: list[float] = []
        self.restart()

    def restart(self) -> None:
        """Forgets what it held in memory."""
        self.registry = CollectorRegistry()
        self._app = self._made()

    def key_stamp(self) -> object:
        return "key"

    def send(self, batch_id: str, at: float, body: bytes) -> Answer:
        """As exporter.post has it, over the app's own door instead of a socket."""
        self._clock.time += _REQUEST
        if self.away:
            return Answer(Verdict.LATER, "connection refused")
        if self._is_too_often():
            return judge(429, {"Retry-After": "1"}, b'{"error": "too many requests"}', at)
        response = self._app.test_client().post(
            f"/api/v1/metrics?server=web1&batch_id={batch_id}&timestamp={at:.3f}",
            data=body,
            headers={
                "Content-Type": "text/plain; version=0.0.4",
                "Content-Encoding": "gzip",
                **bearer(self._key),
            },
        )
        self.arrived.append(at)
        lost = self.after_storing()
        return lost or judge(
            response.status_code, response.headers, response.data, self._clock.time
        )

    def stored(self) -> list[tuple[float, float]]:
        """Time and number of every page in the store."""
        matchers = [Matcher("__name__", "=", "page_number")]
        hour = 3_600_000
        start, end = round(NOW * 1000) - hour, round(self._clock.time * 1000) + hour
        (series,) = self.store.select(matchers, start, end, Hints())
        pairs = zip(series.times_ms.tolist(), series.values.tolist(), strict=True)
        return [(at / 1000, value) for at, value in pairs]

    def batches(self, result: str) -> float | None:
        return self.registry.get_sample_value(
            "fleetpulse_api_push_batches_total", {"result": result}
        )

    def _is_too_often(self) -> bool:
        # Its own limit counts by the real clock, which stands still here.
        now = self._clock.time
        self._taken = [at for at in self._taken if now - at < 1]
        if len(self._taken) >= _PER_SECOND:
            return True
        self._taken.append(now)
        return False

    def _made(self) -> Flask:
        config = ApiConfig.model_validate(
            {"rate_limit": "unlimited", "push": {"servers": [{"name": "web1"}]}}
        )
        store = self.store
        return create_app(
            config,
            FakeEngine(),  # type: ignore[arg-type]
            store,
            store,
            self._keys,
            self.registry,
            now=self._clock.now,
        )


class World:
    """A host and its API, under one clock that goes from event to event."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.time = folder, NOW
        self.made: list[float] = []
        self.central = Central(folder, self)
        self._numbers, self._folders = itertools.count(1), itertools.count(1)
        self._to_close = ExitStack()
        self._to_close.callback(self.central.store.close)
        self.spool = folder / "spool"
        self._next_page = self._next_attempt = NOW
        self.pusher = self._started()

    def now(self) -> float:
        return self.time

    def run(self, seconds: float) -> None:
        """Pages are made and sent for so long, each in its time."""
        end = self.time + seconds
        while min(self._next_page, self._next_attempt) < end:
            if self._next_page <= self._next_attempt:
                self.time = max(self.time, self._next_page)
                self._make()
            else:
                self.time = max(self.time, self._next_attempt)
                self._send()
        self.time = max(self.time, end)

    def kill(self) -> None:
        """kill -9, and a restart at once: the new process has what is on the disk, no more."""
        folder = self.folder / f"restart{next(self._folders)}"
        folder.mkdir()
        for file in self.spool.parent.glob(f"{self.spool.name}*"):
            if file.is_file():
                shutil.copy(file, folder)
        self.spool = folder / self.spool.name
        self._next_attempt = self.time
        self.pusher = self._started()

    def close(self) -> None:
        self._to_close.close()

    def _make(self) -> None:
        self._next_page += INTERVAL
        self.made.append(self.time)
        self.pusher.make()
        if self._next_attempt == float("inf"):
            self._next_attempt = self.time

    def _send(self) -> None:
        try:
            pause = self.pusher.turn()
        except KilledError:
            self.kill()
            return
        self._next_attempt = float("inf") if pause is None else self.time + pause.seconds

    def _started(self) -> Pusher:
        pusher = Pusher(
            lambda: b"page_number %d\n" % next(self._numbers),
            self.central,
            lambda: Spool(self.spool, max_items=1000, max_age=7 * 86400, now=self.now),
            INTERVAL,
            self.folder / "refused.gz",
            now=self.now,
            steady=self.now,
            backoff=Backoff(lambda: 0.5),
        )
        pusher.open()
        self._to_close.callback(pusher.stop)
        return pusher

    def assert_all_there(self) -> None:
        """Every page once, with the time it was made at."""
        expected = [(round(at, 3), float(n)) for n, at in enumerate(self.made, start=1)]
        assert self.central.stored() == expected


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_half_an_hour_without_the_api_and_a_kill_in_the_middle(world: World) -> None:
    central = world.central
    world.run(MINUTE)
    central.away = True
    world.run(15 * MINUTE)
    world.kill()
    world.run(15 * MINUTE)
    assert world.pusher.waiting == 180
    assert len(central.stored()) == 6
    central.away = False
    world.run(2 * MINUTE)
    assert world.pusher.waiting == 0
    assert len(world.made) == 6 + 180 + 12
    world.assert_all_there()
    assert central.arrived == sorted(central.arrived)
    assert (central.batches("stored"), central.batches("duplicate")) == (198, 0)


def test_after_an_outage_new_pages_do_not_wait_long(world: World) -> None:
    """Hundreds of pages at the pace that the API allows, while new ones are made."""
    world.central.away = True
    world.run(900 * INTERVAL)
    world.central.away = False
    minutes = 0
    while world.pusher.waiting:
        world.run(MINUTE)
        minutes += 1
    assert minutes <= 4
    world.assert_all_there()


def test_what_is_stored_when_the_answer_is_lost_is_stored_once(world: World) -> None:
    answers = itertools.count()

    def lose_every_third() -> Answer | None:
        lost = next(answers) % 3 == 1
        return Answer(Verdict.LATER, "connection reset") if lost else None

    world.central.after_storing = lose_every_third
    world.run(5 * MINUTE)
    world.central.after_storing = lambda: None
    world.run(MINUTE)
    assert world.pusher.waiting == 0
    world.assert_all_there()
    assert world.central.batches("stored") == 36
    assert world.central.batches("duplicate") == len(world.central.arrived) - 36 > 5


def test_killed_between_the_apis_yes_and_its_own_note_of_it(world: World) -> None:
    def kill() -> Answer | None:
        world.central.after_storing = lambda: None
        raise KilledError

    for _ in range(3):
        world.central.after_storing = kill
        world.run(MINUTE)
    world.assert_all_there()
    assert (world.central.batches("stored"), world.central.batches("duplicate")) == (18, 3)


def test_a_repeat_that_the_api_has_forgotten_is_the_same_samples(world: World) -> None:
    """Batches are remembered in memory; but a page brings its time, and so says nothing new."""

    def lose_and_restart() -> Answer | None:
        world.central.after_storing = lambda: None
        world.central.restart()
        return Answer(Verdict.LATER, "connection reset")

    world.run(MINUTE)
    world.central.after_storing = lose_and_restart
    world.run(MINUTE)
    assert len(world.central.arrived) == 13
    assert world.central.batches("duplicate") == 0
    world.assert_all_there()
