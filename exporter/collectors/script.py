"""Metrics that programs write: commands of the configuration, run for the page. Off by default."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.families import Found, Rows, gauge
from exporter.sources import command
from fleetpulse.errors import ExpositionError

if TYPE_CHECKING:
    from exporter.sources.promfile import Known, Told

log = logging.getLogger(__name__)

SUCCESS = gauge(
    "fleetpulse_script_success",
    "Whether the script ended well and wrote metrics that can be told (1) or not (0).",
    "script",
)
DURATION = gauge("fleetpulse_script_duration_seconds", "How long its last run took.", "script")
EXIT_CODE = gauge(
    "fleetpulse_script_exit_code", "What its last run ended with, if it ended by itself.", "script"
)
LAST_RUN = gauge(
    "fleetpulse_script_last_run_timestamp_seconds",
    "When its last run ended, in seconds since 1970.",
    "script",
)
_OWN = (SUCCESS.name, DURATION.name, EXIT_CODE.name, LAST_RUN.name)

_MOST_BYTES = 1 << 20
_MOST_SAMPLES = 10_000
_AT_ONCE = 4
_FAREWELL = 1.0  # seconds in which all that run have ended, when nobody wants them any more
_SHOWN = 200  # characters of what a script complains of that are logged

Run = Callable[..., command.Result]


@dataclass(frozen=True, slots=True)
class Script:
    """command: program and arguments; timeout: seconds after which it is killed; interval: it is
    not run again for a page sooner than so many seconds after its last start."""

    name: str
    command: tuple[str, ...]
    timeout: float = 30.0
    interval: float = 0.0


@dataclass(frozen=True, slots=True)
class Last:
    """The last run that ended."""

    ended: float
    seconds: float
    exit_code: int | None
    fault: str
    told: "Sequence[Told]" = ()


class ScriptCollector:
    """fleetpulse_script_* and what the scripts write, in the text format.

    A page starts what is due, a few at once, and waits for patience seconds. What takes longer
    goes on behind it, and the page has its last result until then. A script that fails loses
    its own metrics; of two that tell the same family differently, the first is told.
    """

    name = "script"
    # Names of other collectors are theirs, whoever tells them first.
    guest = True

    def __init__(
        self,
        scripts: Sequence[Script],
        *,
        patience: float = 2.0,
        run: Run = command.run,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._patience, self._clock = patience, clock
        places = threading.Semaphore(_AT_ONCE)
        self._closed = threading.Event()
        closed = self._closed.is_set
        self._jobs = [Job(script, run, places, clock, now, closed) for script in scripts]
        self._logged = set[str]()

    def collect(self) -> Iterator[Found]:
        deadline = self._clock() + self._patience
        for job in self._jobs:
            job.start_if_due()
        for job in self._jobs:
            job.wait(deadline - self._clock())
        last = {job.script.name: job.last for job in self._jobs if job.last is not None}
        found, conflicts = merged(last)
        self._log([*(f"{name}: {one.fault}" for name, one in last.items() if one.fault),
                   *conflicts])  # fmt: skip
        yield from outcome(last)
        yield from found

    def close(self) -> None:
        """Ends the scripts that run; they would outlive whom they run for."""
        self._closed.set()
        deadline = self._clock() + _FAREWELL
        for job in self._jobs:
            job.wait(deadline - self._clock())

    def _log(self, faults: Sequence[str]) -> None:
        """Each fault once, for as long as it lasts."""
        for fault in faults:
            if fault not in self._logged:
                log.warning("script %s", fault)
        self._logged = set(faults)


class Job:
    """One script: at most one run at a time, in a thread that lives as long as the run."""

    def __init__(
        self,
        script: Script,
        run: Run,
        places: threading.Semaphore,
        clock: Callable[[], float],
        now: Callable[[], float],
        unwanted: Callable[[], bool],
    ) -> None:
        self.script, self._run, self._places = script, run, places
        self._unwanted = unwanted
        self._clock, self._now = clock, now
        self.last: Last | None = None
        self._started = float("-inf")
        self._done = threading.Event()
        self._done.set()
        self._stuck: command.Popen | None = None
        self._known: Known = {}

    def start_if_due(self) -> None:
        now = self._clock()
        if not self._done.is_set() or now - self._started < self.script.interval:
            return
        if self._stuck is not None and self._stuck.poll() is None:
            return  # one that cannot be killed must not become many
        name = f"script-{self.script.name}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._done.clear()
        try:
            thread.start()
        except BaseException:
            self._done.set()
            raise
        self._started = now

    def wait(self, seconds: float) -> None:
        self._done.wait(max(0.0, seconds))

    def _work(self) -> None:
        try:
            with self._places:
                if self._unwanted():
                    return  # those before it in the queue took their time
                began = self._clock()
                result = self._run(
                    self.script.command,
                    timeout=self.script.timeout,
                    most=_MOST_BYTES,
                    unwanted=self._unwanted,
                )
                self._stuck = result.stuck
                self.last = self._judged(result, self._clock() - began)
        finally:
            self._done.set()

    def _judged(self, result: command.Result, seconds: float) -> Last:
        fault = result.fault
        told: list[Told] = []
        if not fault and result.exit_code:
            fault = f"ended with {result.exit_code}{complaint(result.complaints)}"
        if not fault:
            try:
                told = self._parsed(result.output)
            except ExpositionError as err:
                fault = f"wrote something else than metrics: {err}"
        return Last(self._now(), seconds, result.exit_code, fault, told)

    def _parsed(self, output: bytes) -> "list[Told]":
        from exporter.sources.promfile import parse

        told = parse(output, most=_MOST_SAMPLES, known=self._known)
        if len(self._known) > 2 * sum([len(one.samples) for one in told]):
            self._known = {}  # what the script no longer tells is not to pile up
        return told


def complaint(raw: bytes) -> str:
    """The last line that the script wrote to stderr."""
    lines = raw.decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return f": {said[-1][:_SHOWN]}" if said else ""


def merged(last: dict[str, Last]) -> tuple[list[Found], list[str]]:
    from exporter.sources.promfamilies import merge

    return merge([(name, one.told) for name, one in last.items()], _OWN)


def outcome(last: dict[str, Last]) -> Iterator[Found]:
    """What became of the last run of each."""
    yield SUCCESS, {(name,): int(not one.fault) for name, one in last.items()}
    yield DURATION, {(name,): one.seconds for name, one in last.items()}
    codes: Rows = {(name,): one.exit_code for name, one in last.items()
                   if one.exit_code is not None}  # fmt: skip
    yield EXIT_CODE, codes
    yield LAST_RUN, {(name,): one.ended for name, one in last.items()}
