"""Finds the lines for which a store refuses a batch: by the store's words, else by halves."""

from collections.abc import Callable, Sequence

from fleetpulse.storage.sending import Send, SendError

_MOST_REQUESTS = 2_000  # spent on one batch
_ENOUGH = 100  # requests after which a store that took no line at all is believed to want none

Bad = tuple[bytes, str]


def deliver(
    lines: Sequence[bytes],
    send: Send,
    timeout: float,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Bad]:
    """The lines that the store will never take, each with its reason; it has all others.

    SendError where the fault is not in the lines: then some may have been taken, and all have to
    come again, which does no harm. So too where it takes none of several lines, and does not say
    that it looked at them: what refuses everything finds fault with something else. After very
    many requests what is still in question counts as bad. stopped: whether to leave off amid it.
    """
    search = _Search(send, timeout, stopped)
    bad = search.deliver(lines)
    if len(bad) > 1 and not search.took_some:
        raise refuses_all(bad[0][1])
    return bad


def refuses_all(words: str) -> SendError:
    return SendError(f"{words}; no line at all is taken", "settings")


class _Search:
    def __init__(self, send: Send, timeout: float, stopped: Callable[[], bool]) -> None:
        self._send, self._timeout, self._stopped = send, timeout, stopped
        self._requests = 0
        self.took_some = False  # or has looked at each line and said how many it did not take

    def deliver(self, lines: Sequence[bytes]) -> list[Bad]:
        if self._requests and self._stopped():
            raise SendError("stopped amid a batch, which will come again")
        self._requests += 1
        try:
            self._send(b"".join(lines), self._timeout)
        except SendError as err:
            if err.fault != "lines":
                raise
            self.took_some |= err.dropped > 0
            return self._look_into(lines, err)
        self.took_some = True
        return []

    def _look_into(self, lines: Sequence[bytes], err: SendError) -> list[Bad]:
        # A store may take the good lines of a batch and say how many it did not take. Fewer than
        # all are looked for one by one: the number may be of one fault, and there be another.
        if len(lines) in (1, err.dropped):
            return [(line, str(err)) for line in lines]
        if self._requests >= _ENOUGH and not self.took_some:
            raise refuses_all(str(err))
        if self._requests >= _MOST_REQUESTS:
            words = f"{err} (of one of {len(lines)} lines, not looked at one by one)"
            return [(line, words) for line in lines]
        return [bad for part in _parts(lines, err) for bad in self.deliver(part)]


def _parts(lines: Sequence[bytes], err: SendError) -> Sequence[Sequence[bytes]]:
    """The lines that the store's words do not name and those they do; else two halves."""
    if err.suspected is not None:
        named = [line for line in lines if err.suspected(line)]
        if 0 < len(named) < len(lines):
            return [line for line in lines if not err.suspected(line)], named
    middle = len(lines) // 2
    return lines[:middle], lines[middle:]
