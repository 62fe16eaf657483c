"""Selectors: series from the store → an instant vector's frame, or blocks for range functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetpulse.errors import QueryError
from fleetpulse.model import STALE_BITS, Labels, Series
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Frame, Mask
from fleetpulse.promql.syntax import At, MatrixSelector, Selector
from fleetpulse.promql.windows import Ints, Windows
from fleetpulse.storage.base import Folded, Hints, SeriesReader, Tier

_FEW = 64  # series of a target


@dataclass(frozen=True, slots=True)
class Block:
    """Series with the very same sample times, as those of one target are.

    rows: their places in the whole; times int64 (samples,); values float64 (len(rows), samples).
    """

    rows: NDArray[np.intp]
    times: Ints
    values: Floats


@dataclass(frozen=True, slots=True)
class Past:
    """What a range vector is before until_ms, where the store tells of windows only.

    Blocks as those of samples: values are what the function around wants of each window of
    width_ms, samples and crossing as in storage.base.History.
    """

    until_ms: int
    width_ms: int
    blocks: Sequence[tuple[Block, Floats, Floats]]


@dataclass(frozen=True, slots=True)
class RangeVector:
    """What a range function takes: series in blocks, and a window per step.

    labels and drop_name are per row, as in a Frame; the window at step i is (start_ms[i],
    end_ms[i]]. Staleness markers are no samples of a range, and are gone.
    """

    labels: Sequence[Labels]
    drop_name: Mask
    blocks: Sequence[Block]
    start_ms: Ints
    end_ms: Ints
    past: Past | None = None


def all_windows(
    blocks: Sequence[Block], start_ms: Ints, end_ms: Ints, steps_ms: Ints
) -> Iterator[tuple[NDArray[np.intp], Windows]]:
    """The windows of all blocks, and of which rows they are.

    Of many targets with few series each, those whose windows are the same samples by number are
    taken together: an operation on a few hundred numbers takes as long as one on ten times that.
    """
    if not len(steps_ms):
        return
    alike: dict[object, list[tuple[Block, Windows]]] = {}
    for place, block in enumerate(blocks):
        windows = Windows.cut(block.times, block.values, start_ms, end_ms, steps_ms)
        few = len(block.rows) <= _FEW
        key = (windows.samples, windows.lo.tobytes(), windows.hi.tobytes()) if few else place
        alike.setdefault(key, []).append((block, windows))
    for found in alike.values():
        rows = np.concatenate([block.rows for block, _ in found])
        yield rows, Windows.together([windows for _, windows in found])


class Selectors:
    """The selections of one query; the same selection is fetched once."""

    def __init__(self, reader: SeriesReader, max_series: int, tier: Tier = "auto") -> None:
        self._reader = reader
        self._max_series = max_series
        self._tier = tier
        self._fetched: dict[object, Sequence[Series]] = {}

    def instant(self, selector: Selector, ctx: EvalContext, func: str) -> Frame:
        """The newest sample in (t - lookback, t] at each step, unless it ends the series."""
        return self._newest(selector, ctx, func, times=False)

    def instant_times(self, selector: Selector, ctx: EvalContext) -> Frame:
        """Like instant(); the values are the samples' own times in seconds."""
        return self._newest(selector, ctx, "timestamp", times=True)

    def windows(self, node: MatrixSelector, ctx: EvalContext, func: str) -> RangeVector:
        selector = node.selector
        end_ms = evaluation_times(ctx, selector.at) - selector.offset_ms
        start_ms = end_ms - node.range_ms
        bounds = int(start_ms.min()) + 1, int(end_ms.max())
        series = self._fetch(selector, bounds, ctx, Hints(ctx.step_ms, node.range_ms, func))
        labels = [one.labels for one in series]
        blocks = live_blocks(series)
        dropped = np.zeros(len(labels), dtype=bool)
        return RangeVector(labels, dropped, blocks, start_ms, end_ms, past_of(series))

    def raw(self, node: MatrixSelector, ctx: EvalContext) -> list[Series]:
        """An instant query's `x[5m]`: the samples themselves."""
        selector = node.selector
        end_ms = int(evaluation_times(ctx, selector.at)[0]) - selector.offset_ms
        bounds = end_ms - node.range_ms + 1, end_ms
        series = self._fetch(selector, bounds, ctx, Hints(0, node.range_ms, ""))
        cut = [live_samples(one) for one in series]
        ctx.seen.add(np.array([sum(len(one.times_ms) for one in cut)]))
        return [one for one in cut if len(one.times_ms)]

    def _newest(self, selector: Selector, ctx: EvalContext, func: str, *, times: bool) -> Frame:
        wanted = evaluation_times(ctx, selector.at) - selector.offset_ms
        bounds = int(wanted.min()) - ctx.lookback_ms + 1, int(wanted.max())
        # Of a single step the newest sample is all that is looked at.
        step_ms = ctx.step_ms if ctx.steps > 1 else ctx.lookback_ms
        series = self._fetch(selector, bounds, ctx, Hints(step_ms, 0, func))
        ctx.budget.take(len(series) * ctx.steps)
        values = np.zeros((len(series), ctx.steps))
        present = np.zeros(values.shape, dtype=bool)
        for block in group(series):
            ctx.check_deadline()
            newest = np.searchsorted(block.times, wanted, side="right") - 1
            index = np.maximum(newest, 0)
            at = block.times[index]
            there = (newest >= 0) & (at > wanted - ctx.lookback_ms)
            taken = block.values[:, index]
            values[block.rows] = at / 1000 if times else taken
            present[block.rows] = there & (taken.view(np.int64) != STALE_BITS)
        ctx.seen.add(np.count_nonzero(present, axis=0))
        labels = [one.labels for one in series]
        return Frame(labels, values, present, np.full(len(labels), times)).compact()

    def _fetch(
        self, selector: Selector, bounds: tuple[int, int], ctx: EvalContext, hints: Hints
    ) -> Sequence[Series]:
        ctx.check_deadline()
        # With the hints, for a store may answer other functions from other columns.
        key = (selector.matchers, bounds, hints)
        if key not in self._fetched:
            self._fetched[key] = self._select(selector, bounds, ctx, hints)
        return self._fetched[key]

    def _select(
        self, selector: Selector, bounds: tuple[int, int], ctx: EvalContext, hints: Hints
    ) -> Sequence[Series]:
        budget = ctx.budget
        left = budget.left()
        limited = Hints(
            hints.step_ms,
            hints.range_ms,
            hints.func,
            left,
            self._max_series,
            self._tier,
            budget.check_deadline,
            budget.seconds_left(),
        )
        began = budget.clock()
        series = self._reader.select(selector.matchers, *bounds, limited)
        budget.store_seconds += budget.clock() - began
        if self._max_series and len(series) > self._max_series:
            raise QueryError(
                "execution",
                f"a selector matches {len(series)} series; at most {self._max_series} are taken:"
                " narrow it with more matchers",
            )
        budget.keep(_held(series), len(series))
        return series


def _held(series: Sequence[Series]) -> int:
    """How many samples, and windows that stand for samples: with twice as many numbers each."""
    samples = sum([len(one.times_ms) for one in series])
    if series and isinstance(series[0], Folded):
        windows = [len(one.history.times_ms) for one in series if isinstance(one, Folded)]
        samples += 2 * sum(windows)
    return samples


def past_of(series: Sequence[Series]) -> Past | None:
    """The windows of a selection; None where it has samples only."""
    folded = [one for one in series if isinstance(one, Folded)]
    if not folded:
        return None
    told = [Series(one.labels, one.history.times_ms, one.history.values) for one in folded]
    blocks = []
    for block in group(told):
        rows = [folded[row].history for row in block.rows.tolist()]
        samples = np.stack([one.samples for one in rows])
        blocks.append((block, samples, np.stack([one.crossing for one in rows])))
    return Past(folded[0].until_ms, folded[0].width_ms, blocks)


def evaluation_times(ctx: EvalContext, at: At) -> Ints:
    """The times of the steps, or the one that @ fixes, at every step. int64 (steps,)."""
    if at is None:
        return ctx.steps_ms
    fixed = {"start": ctx.start_ms, "end": ctx.end_ms}.get(at, 0) if isinstance(at, str) else at
    return np.full(ctx.steps, fixed, dtype=np.int64)


def live_samples(series: Series) -> Series:
    """Without staleness markers; the same object where there are none."""
    live = np.ascontiguousarray(series.values).view(np.int64) != STALE_BITS
    if live.all():
        return series
    return Series(series.labels, series.times_ms[live], series.values[live])


def live_blocks(series: Sequence[Series]) -> list[Block]:
    """group() of the samples that are no staleness markers."""
    blocks = []
    for block in group(series):
        ended = np.any(block.values.view(np.int64) == STALE_BITS, axis=1)
        if not ended.any():
            blocks.append(block)
            continue
        whole = ~ended
        if whole.any():
            blocks.append(Block(block.rows[whole], block.times, block.values[whole]))
        rows = block.rows[ended]
        cut = group([live_samples(series[row]) for row in rows])
        blocks += [Block(rows[part.rows], part.times, part.values) for part in cut]
    return blocks


def group(series: Sequence[Series]) -> list[Block]:
    """Blocks of series with equal sample times; series without samples are left out."""
    # The store may share one array between a target's series; mostly that tells all.
    shared: dict[int, list[int]] = {}
    for row, one in enumerate(series):
        shared.setdefault(id(one.times_ms), []).append(row)
    alike: dict[bytes, list[int]] = {}
    for rows in shared.values():
        alike.setdefault(series[rows[0]].times_ms.tobytes(), []).extend(rows)
    return [_block(series, rows) for key, rows in alike.items() if key]


def _block(series: Sequence[Series], rows: list[int]) -> Block:
    times = series[rows[0]].times_ms
    together = np.concatenate([series[row].values for row in rows])
    return Block(np.array(rows, dtype=np.intp), times, together.reshape(len(rows), len(times)))
