"""Which connection has to go when there are too many."""

from typing import Generic, Protocol, TypeVar

_MOST = 512


def most_connections(descriptors: int | None = None) -> int:
    """How many clients there is room for: a quarter of the files that the process may have open,
    as the rest of it needs some too. descriptors: so many; by default what the system says.
    """
    if descriptors is None:
        descriptors = _limit()
    return min(_MOST, max(1, descriptors // 4)) if descriptors > 0 else _MOST


def _limit() -> int:
    """0 or less where there is none."""
    try:
        import resource  # not on every system
    except ImportError:
        return 0
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class _Guest(Protocol):
    def dismiss(self) -> None:
        """Ends the connection at once."""


Guest = TypeVar("Guest", bound=_Guest)


class Crowd(Generic[Guest]):
    """All connections, at most limit of them. For the loop's thread alone.

    Those that have shown nothing yet and those that have had an answer are apart, and the oldest
    of the larger group goes: a thousand silent connections push out each other and not the one
    over which Prometheus comes every 15 seconds, nor can idle ones fill the house. One whose
    answer is being made stays.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._all: dict[Guest, None] = {}
        self._new: dict[Guest, None] = {}  # in the order of their coming
        self._known: dict[Guest, None] = {}  # in the order of their last answers

    def __len__(self) -> int:
        return len(self._all)

    def all(self) -> list[Guest]:
        return list(self._all)

    def enter(self, guest: Guest) -> None:
        while len(self._all) >= self._limit and self._make_room():
            pass
        self._all[guest] = self._new[guest] = None
        if len(self._all) > self._limit:  # everybody is being served
            self.leave(guest)
            guest.dismiss()

    def serve(self, guest: Guest) -> None:
        """An answer is being made for the guest."""
        self._new.pop(guest, None)
        self._known.pop(guest, None)

    def served(self, guest: Guest) -> None:
        """The guest has its answer."""
        if guest in self._all:
            self._known[guest] = None

    def leave(self, guest: Guest) -> None:
        self.serve(guest)
        self._all.pop(guest, None)

    def _make_room(self) -> bool:
        group = self._new if len(self._new) >= len(self._known) else self._known
        guest = next(iter(group), None)
        if guest is None:
            return False
        self.leave(guest)
        guest.dismiss()
        return True
