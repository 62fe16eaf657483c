"""Who waits for a query's answer: whether they still do, and what they are told of the query.

Set by whoever takes the question (the API, for a request), read by an engine in the same thread,
so that nobody between the two has to hand it on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from fleetpulse.promql.stats import QueryStats


def _never() -> bool:
    return False


def _nothing() -> None:
    pass


@dataclass(slots=True)
class Asker:
    """gone: whether nobody waits any more; asked now and then, in the engine's thread.

    per_step: whether samples are wanted at each step. began: called once its turn has come.
    stats: told by the engine when the query ends, be it in an error.
    """

    gone: Callable[[], bool] = _never
    per_step: bool = False
    began: Callable[[], None] = _nothing
    stats: QueryStats = field(default_factory=QueryStats)


_present: ContextVar[Asker | None] = ContextVar("asker", default=None)


def present() -> Asker:
    """Whoever asks in this thread; somebody who never leaves where nobody said who it is."""
    return _present.get() or Asker()


@contextmanager
def asked_by(asker: Asker) -> Iterator[None]:
    token = _present.set(asker)
    try:
        yield
    finally:
        _present.reset(token)
