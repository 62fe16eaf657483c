"""Push mode whose clock is the test's, and the answers of an API."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from exporter.push.answer import Answer, Verdict
from exporter.push.backoff import Backoff
from exporter.push.pusher import Pusher
from fleetpulse.storage.spool import Spool
from tests.exporter_fakes import FakePost

LATER = Answer(Verdict.LATER, "HTTP 503: away", status=503)
REFUSED = Answer(Verdict.REFUSED, "HTTP 413: too large", status=413)
DENIED = Answer(Verdict.LATER, "HTTP 401: revoked", denied=True, status=401)

Make = Callable[..., Pusher]


class Clock:
    """Goes on where somebody waits; does at the times what it was told to."""

    def __init__(self) -> None:
        self.time = 100.0
        self.then: dict[float, Callable[[], None]] = {}

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> bool:
        self.time += seconds
        for at in [at for at in self.then if at <= self.time]:
            self.then.pop(at)()
        return False


def making(folder: Path, clock: Clock) -> Iterator[Make]:
    """Makes pushers whose pages say `page 1`, `page 2`, … made at 1010, 1020, …"""
    made: list[Pusher] = []
    count, times = itertools.count(1), itertools.count(1010, 10)

    def pusher(
        post: FakePost,
        pages: int = 10,
        path: Path = folder / "spool",
        refused: Path = folder / "refused.gz",
        opened: bool = True,
        kind: type[Spool] = Spool,
    ) -> Pusher:
        made.append(
            Pusher(
                lambda: b"page %d\n" % next(count),
                post,
                lambda: kind(path, max_items=pages, busy_timeout=0.1),
                10.0,
                refused,
                now=lambda: float(next(times)),
                steady=clock.now,
                backoff=Backoff(lambda: 0.0),
            )
        )
        if opened:
            made[-1].open()
        return made[-1]

    yield pusher
    for one in made:
        one.stop()
