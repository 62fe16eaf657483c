"""Which programs use most CPU and memory. Off by default; node_exporter has nothing of the kind.

By program and user and not by process: processes come and go, and each would be a series of its
own. A command line is never told, since secrets stand in there.
"""

import heapq
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from exporter.families import Found, counter, gauge

_LABELS = ("command", "user")
CPU = counter(
    "fleetpulse_top_cpu_seconds_total",
    "Seconds of CPU that processes of this name and user used since the exporter began to look.",
    *_LABELS,
    guarded=True,
)
RESIDENT = gauge(
    "fleetpulse_top_resident_memory_bytes",
    "Memory that is resident, summed over processes; what they share counts for each.",
    *_LABELS,
)
PROCESSES = gauge("fleetpulse_top_processes", "How many processes there are.", *_LABELS)

# Use of CPU counts half for the rank after so many seconds: who is on top now, without flutter.
_HALF_LIFE = 300.0
# Groups without a process whose counter is remembered.
_ENDED = 1000

Group = tuple[str, str]


class Process(NamedTuple):
    """born tells one from another that has its number later; cpu is in Processes.per_second."""

    born: float
    command: str
    user: str
    cpu: float
    resident: int


class Processes(Protocol):
    """The processes of a host."""

    per_second: float  # what cpu grows by in a second of use

    def pids(self) -> list[int]: ...

    def read(self, pid: int) -> Process | None:
        """None where it ended meanwhile, or may not be looked at."""


class TopCollector:
    """fleetpulse_top_*: of the count groups with most CPU and the count with most memory.

    reads: processes that are looked at for one page. On a host with more, those of the groups on
    the page and new ones come first, and the others in turn.
    """

    name = "top"

    def __init__(
        self,
        processes: Processes,
        count: int = 10,
        *,
        reads: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processes, self._count, self._reads = processes, count, reads
        self._clock, self._accounts = clock, Accounts()
        self._turns = Turns()
        self._shown: list[Group] = []

    def collect(self) -> Iterator[Found]:
        accounts = self._accounts
        pids = sorted(self._processes.pids())
        fresh = accounts.begin(pids, self._clock())
        for pid in self._turns.due(pids, fresh, accounts.of_groups(self._shown), self._reads):
            accounts.note(pid, self._processes.read(pid), pid in fresh)
        accounts.forget_ended(_ENDED)
        self._shown = accounts.largest(self._count)
        shown = [(group, accounts.groups[group]) for group in self._shown]
        yield CPU, {group: one.used / self._processes.per_second for group, one in shown}
        yield RESIDENT, {group: one.resident for group, one in shown}
        yield PROCESSES, {group: one.processes for group, one in shown}


class Turns:
    """Chooses the processes to look at, where there are too many for one page."""

    def __init__(self) -> None:
        self._last = -1

    def due(
        self, pids: Sequence[int], fresh: Iterable[int], first: Iterable[int], most: int
    ) -> Sequence[int]:
        """pids: all, sorted; fresh and first: of them, those to be preferred."""
        if len(pids) <= most:
            return pids
        chosen = dict.fromkeys((*first, *fresh))
        start = bisect_right(pids, self._last)
        for pid in (*pids[start:], *pids[:start]):
            if len(chosen) >= most:
                break
            if pid not in chosen:
                chosen[pid] = None
                self._last = pid
        return list(chosen)[:most]


@dataclass(slots=True)
class Known:
    """A process as it was last looked at."""

    born: float
    group: Group
    cpu: float
    resident: int


@dataclass(slots=True)
class Account:
    """Of a group: CPU used since we look, lately, and before; and what it has now."""

    used: float = 0
    lately: float = 0
    before: float = 0
    resident: int = 0
    processes: int = 0


class Accounts:
    """Keeps what each group used: what a process used stays with its group when it ends.

    What it uses between the last look and its end is not seen.
    """

    def __init__(self) -> None:
        self.groups: dict[Group, Account] = {}
        self._known: dict[int, Known] = {}
        self._pids: set[int] | None = None  # None before the first turn
        self._at = 0.0

    def begin(self, pids: Iterable[int], now: float) -> set[int]:
        """Those that began since the last turn; what ended is let go."""
        faded = 0.5 ** ((now - self._at) / _HALF_LIFE)
        for account in self.groups.values():
            account.lately *= faded
        before, self._pids, self._at = self._pids, set(pids), now
        for pid in self._known.keys() - self._pids:
            self._let_go(pid)
        return set() if before is None else self._pids - before

    def note(self, pid: int, found: Process | None, fresh: bool) -> None:
        """What a process is found to have used. Of one that is not fresh and was never looked at,
        it is not known when it used it."""
        known = self._known.get(pid)
        if known is not None and (found is None or found.born != known.born):
            self._let_go(pid)
            known, fresh = None, True
        if found is None:
            return
        group = (found.command, found.user)
        if known is not None and known.group != group:  # it became another program or user
            self._let_go(pid)
        account = self.groups.get(group)
        if account is None:
            account = self.groups[group] = Account()
        if known is not None or fresh:
            used = max(0, found.cpu - (known.cpu if known is not None else 0))
            account.used += used
            account.lately += used
        else:
            account.before += found.cpu
        self._keep(pid, found, account, group)

    def _keep(self, pid: int, found: Process, account: Account, group: Group) -> None:
        known = self._known.get(pid)
        if known is None:
            self._known[pid] = Known(found.born, group, found.cpu, found.resident)
            account.processes += 1
            account.resident += found.resident
        else:
            account.resident += found.resident - known.resident
            known.cpu, known.resident = found.cpu, found.resident

    def _let_go(self, pid: int) -> None:
        known = self._known.pop(pid)
        account = self.groups[known.group]
        account.processes -= 1
        account.resident -= known.resident

    def of_groups(self, groups: Iterable[Group]) -> list[int]:
        """The processes of these groups."""
        wanted = set(groups)
        return [pid for pid, known in self._known.items() if known.group in wanted]

    def forget_ended(self, most: int) -> None:
        """Of groups without a process only so many are kept, those that used CPU last."""
        ended = [group for group, account in self.groups.items() if not account.processes]
        if len(ended) > most:
            ended.sort(key=lambda group: self.groups[group].lately)
            for group in ended[: len(ended) - most]:
                del self.groups[group]

    def largest(self, count: int) -> list[Group]:
        """By CPU of late, or before we looked where none used any since; and by memory. Sorted."""
        accounts = self.groups
        by_cpu = heapq.nlargest(
            count, accounts, key=lambda group: (accounts[group].lately, accounts[group].before)
        )
        by_memory = heapq.nlargest(count, accounts, key=lambda group: accounts[group].resident)
        return sorted({*by_cpu, *by_memory})
