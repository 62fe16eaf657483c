"""Finds the lines for which a store refuses a batch, by halves."""

from collections.abc import Sequence

from fleetpulse.storage.sending import Send, SendError

_MAX_REQUESTS = 500  # spent on one batch

Bad = tuple[bytes, str]


def deliver(lines: Sequence[bytes], send: Send, timeout: float) -> list[Bad]:
    """The lines that the store will never take, each with its reason; it has all others.

    SendError where the fault is not in the lines: then some may have been taken. After so many
    requests what is still in question counts as bad.
    """
    return _Bisection(send, timeout).deliver(lines)


class _Bisection:
    def __init__(self, send: Send, timeout: float) -> None:
        self._send, self._timeout = send, timeout
        self._requests = 0

    def deliver(self, lines: Sequence[bytes]) -> list[Bad]:
        self._requests += 1
        try:
            self._send(b"".join(lines), self._timeout)
        except SendError as err:
            if err.fault != "lines":
                raise
            return self._search(lines, err)
        return []

    def _search(self, lines: Sequence[bytes], err: SendError) -> list[Bad]:
        # A store may take the good lines of a batch and say how many it did not take.
        if len(lines) in (1, err.dropped) or self._requests >= _MAX_REQUESTS:
            return [(line, str(err)) for line in lines]
        middle = len(lines) // 2
        bad = self.deliver(lines[:middle])
        if err.dropped and len(bad) >= err.dropped:
            return bad  # the others are there
        return bad + self.deliver(lines[middle:])
