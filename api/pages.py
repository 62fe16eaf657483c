"""Makes pages of what was pushed: target labels, the lines that tell of the push, layouts."""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from api.config import PushServer
from api.pushed import Batch
from fleetpulse.model import METRIC_NAME, Labels, Layout, Page

PUSH_JOB = "push"
UP = Labels.of({METRIC_NAME: "up"})
RECEIVED = Labels.of({METRIC_NAME: "fleetpulse_push_received_timestamp_seconds"})
OWN = (UP, RECEIVED)

Number = TypeVar("Number", int, float)


def target_labels(server: PushServer) -> Labels:
    return Labels.of({"job": PUSH_JOB, **server.labels, "instance": server.name})


@dataclass(frozen=True, slots=True)
class _Shape:
    """A pushed layout: its own lines after those of the push; keep is None if all are taken."""

    layout: Layout
    keep: Sequence[int] | None


class PageMaker:
    """Turns batches into pages. Pages of the same lines share one Layout. Safe from any thread."""

    def __init__(self, layouts: int = 512) -> None:
        self._lock = threading.Lock()
        self._shapes: OrderedDict[tuple[tuple[Labels, ...], frozenset[str]], _Shape]
        self._shapes = OrderedDict()
        self._most = layouts

    def pages(self, server: PushServer, batch: Batch, received: float) -> list[Page]:
        """A page for each round: the first samples of all series, then their second, …

        Every page says `up 1` and when it was received (Unix seconds).
        """
        target = target_labels(server)
        return [
            self._page(target, part, received)
            for part in (_rounds(batch) if batch.times_ms is not None else [batch])
        ]

    def _page(self, target: Labels, batch: Batch, received: float) -> Page:
        shape = self._shape(batch.lines, frozenset(name for name, _ in target))
        values = _taken(batch.values, shape.keep)
        values.extend((1.0, received))
        if batch.times_ms is None:
            return Page(target, shape.layout, batch.at_ms, values)
        times = _taken(batch.times_ms, shape.keep)
        at_ms = max(times, default=batch.at_ms)
        times.extend((at_ms, at_ms))
        return Page(target, shape.layout, at_ms, values, times)

    def _shape(self, lines: tuple[Labels, ...], taken: frozenset[str]) -> _Shape:
        with self._lock:
            shape = self._shapes.get((lines, taken))
            if shape is None:
                shape = self._shapes[lines, taken] = _make_shape(lines, taken)
                if len(self._shapes) > self._most:
                    self._shapes.popitem(last=False)
            self._shapes.move_to_end((lines, taken))
            return shape


def _taken(numbers: "array[Number]", keep: Sequence[int] | None) -> "array[Number]":
    """A copy of all numbers, or of some."""
    return numbers[:] if keep is None else array(numbers.typecode, [numbers[i] for i in keep])


def _make_shape(lines: tuple[Labels, ...], taken: frozenset[str]) -> _Shape:
    """Lines as they are stored: none that this program writes itself, and each once, the last."""
    last = {renamed(line, taken): index for index, line in enumerate(lines)}
    for own in OWN:
        last.pop(own, None)
    keep = None if len(last) == len(lines) else tuple(last.values())
    return _Shape(Layout((*last, *OWN)), keep)


def renamed(line: Labels, taken: frozenset[str]) -> Labels:
    """Prometheus' way with a page that has labels of its target: they get an exported_ before.

    So that no sender can write under another server's name.
    """
    if all(value and name not in taken for name, value in line):
        return line
    pairs = {name: value for name, value in line if name not in taken}
    for name, value in line:
        if name in taken:
            while name in taken or name in pairs:
                name = f"exported_{name}"
            pairs[name] = value
    return Labels.of(pairs)


def _rounds(batch: Batch) -> list[Batch]:
    """The batch parted so that no part has a series twice; each part with the times of its own."""
    assert batch.times_ms is not None
    seen: dict[Labels, int] = {}
    rounds: list[list[int]] = []
    for index, line in enumerate(batch.lines):
        turn = seen[line] = seen.get(line, -1) + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(index)
    return [_part(batch, batch.times_ms, indexes) for indexes in rounds]


def _part(batch: Batch, times_ms: "array[int]", indexes: Sequence[int]) -> Batch:
    times = array("q", [times_ms[i] for i in indexes])
    same = len(set(times)) == 1
    return Batch(
        tuple(batch.lines[i] for i in indexes),
        array("d", [batch.values[i] for i in indexes]),
        times[0] if same else batch.at_ms,
        None if same else times,
        batch.metadata,
    )
