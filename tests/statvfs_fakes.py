"""Children that ask nobody, and a clock that goes on when somebody waits."""

from collections.abc import Iterable

from exporter.statvfs.asker import Asker
from exporter.statvfs.process import Answer, Child, ChildDiedError, Figures

FIGURES = Figures(1000 << 12, 400 << 12, 350 << 12, 500, 123)


def statvfs(path: bytes) -> Figures:
    """A file system of 1,000 blocks; the network's server is gone."""
    if path.endswith(b"/srv/nas"):
        raise OSError(5, "Input/output error")
    return FIGURES


class World:
    """What the children of an Asker are in. Its sets may be changed at any time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.silent: set[bytes] = set()  # paths that hang
        self.deadly: set[bytes] = set()  # paths at which a child dies
        self.unkillable: set[bytes] = set()  # paths that keep even a killed child
        self.refuses = False  # to start a process
        self.children: list[FakeChild] = []

    def asker(self, timeout: float = 2.0, limit: int = 8) -> Asker:
        return Asker(timeout, start=self.start, wait=self.wait, clock=self.clock, limit=limit)

    def clock(self) -> float:
        return self.now

    def start(self) -> "FakeChild":
        if self.refuses:
            raise OSError(11, "Resource temporarily unavailable")
        self.children.append(FakeChild(self))
        return self.children[-1]

    def wait(self, children: Iterable[Child], seconds: float) -> None:
        fakes = [child for child in children if isinstance(child, FakeChild)]
        if not any(child.is_ready() for child in fakes):
            self.now += max(0.001, seconds)

    @property
    def alive(self) -> int:
        return sum(not child.is_gone() for child in self.children)


class FakeChild:
    def __init__(self, world: World) -> None:
        self._world = world
        self.asked: list[bytes] = []
        self.dead = self.killed = False

    def fileno(self) -> int:
        raise AssertionError("a fake is no file")

    def ask(self, path: bytes) -> None:
        if self.dead:
            raise ChildDiedError("it was dead before")
        self.asked.append(path)

    def answer(self) -> Answer | None:
        path = self.asked[-1]
        if self.dead or path in self._world.deadly:
            self.dead = True
            raise ChildDiedError("it died of it")
        if path in self._world.silent:
            return None
        try:
            return statvfs(path)
        except OSError as err:
            return err

    def end(self) -> bool:
        self.killed = True
        return self.is_gone()

    def is_ready(self) -> bool:
        return self.dead or self.asked[-1] not in self._world.silent

    def is_gone(self) -> bool:
        kept = bool(self.asked) and self.asked[-1] in self._world.unkillable
        return self.dead or (self.killed and not kept)
