"""What a push holds: JSON samples or a metrics page, made plain, with the faults named."""

import json
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.params import parse_time
from api.respond import bad_data
from fleetpulse.errors import ExpositionError
from fleetpulse.exposition import read_page
from fleetpulse.model import METRIC_NAME, Labels, Metadata
from fleetpulse.values import is_label_name, is_metric_name

_MAX_TOLD = 50  # faults in an answer; the count tells of all
_MAX_BAD_LINES = 20  # of a page; past them the page as a whole is no good


@dataclass(slots=True)
class Faults:
    """Refused samples: how many, and the first of them with place and reason."""

    count: int = 0
    told: list[dict[str, Any]] = field(default_factory=list)

    def add(self, key: str, place: int, message: str) -> None:
        self.count += 1
        if len(self.told) < _MAX_TOLD:
            self.told.append({key: place, "error": message})


@dataclass(frozen=True, slots=True)
class Batch:
    """Accepted lines in the order they came in, a value each; times_ms is None if all are at_ms."""

    lines: tuple[Labels, ...]
    values: "array[float]"
    at_ms: int
    times_ms: "array[int] | None" = None
    metadata: Mapping[str, Metadata] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """Which times a sample may have, in Unix ms, both inclusive."""

    oldest_ms: int
    newest_ms: int

    def fault(self, at_ms: int) -> str | None:
        if at_ms > self.newest_ms:
            return "timestamp: too far in the future; check the sender's clock, and send seconds"
        if at_ms < self.oldest_ms:
            return "timestamp: older than what is kept; send seconds, not milliseconds"
        return None


def load_json(body: bytes) -> dict[str, Any]:
    """The document of a JSON push: an object. Refusal where it is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise bad_data(f"the body is no JSON: {err}") from err
    if not isinstance(document, dict):
        raise bad_data('the body must be an object: {"server":…,"batch_id":…,"samples":[…]}')
    return document


def read_json(samples: Sequence[Any], arrived_ms: int, bounds: TimeBounds, faults: Faults) -> Batch:
    """The good ones of a JSON push's samples; the others are in faults, by index."""
    lines: list[Labels] = []
    values, times = array("d"), array("q")
    for index, sample in enumerate(samples):
        try:
            line, at_ms, value = _sample(sample, arrived_ms, bounds)
        except ValueError as err:
            faults.add("index", index, str(err))
            continue
        lines.append(line)
        values.append(value)
        times.append(at_ms)
    same = all(at == times[0] for at in times)
    at_ms = max(times, default=arrived_ms)
    return Batch(tuple(lines), values, at_ms, None if same else times)


def _sample(sample: Any, arrived_ms: int, bounds: TimeBounds) -> tuple[Labels, int, float]:
    if not isinstance(sample, dict):
        raise ValueError('a sample must be an object: {"name":…,"labels":{…},"value":…}')
    at_ms = _time(sample.get("timestamp"), arrived_ms)
    fault = bounds.fault(at_ms)
    if fault:
        raise ValueError(fault)
    return _line(sample), at_ms, _value(sample.get("value"))


def _line(sample: dict[str, Any]) -> Labels:
    name, labels = sample.get("name"), sample.get("labels") or {}
    if not isinstance(name, str) or not is_metric_name(name):
        raise ValueError(f"name: {_shown(name)} is no metric name; write for example queue_length")
    if not isinstance(labels, dict):
        raise ValueError('labels: must be an object of texts, as in {"queue":"mail"}')
    for label, text in labels.items():
        if not is_label_name(label) or label == METRIC_NAME:
            raise ValueError(f"labels: {_shown(label)} is no label name")
        if not isinstance(text, str):
            raise ValueError(f"labels.{label}: {_shown(text)} is no text; write it in quotes")
        if not text.isascii() and not _is_unicode(text):
            raise ValueError(f"labels.{label}: holds half a surrogate pair")
    return Labels.of({**labels, METRIC_NAME: name})


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _value(value: Any) -> float:
    number = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"value: {_shown(value)} is no finite number")
    return number


def _time(timestamp: Any, arrived_ms: int) -> int:
    if timestamp is None:
        return arrived_ms
    if isinstance(timestamp, bool) or not isinstance(timestamp, (int, float, str)):
        raise ValueError(f"timestamp: {_shown(timestamp)} is no time; send Unix seconds")
    try:
        return parse_time(timestamp if isinstance(timestamp, str) else repr(timestamp))
    except ValueError as err:
        raise ValueError(f"timestamp: {err}") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


Check = Callable[[int], str | None]


def read_text(
    body: bytes, at_ms: int, *, openmetrics: bool, bounds: TimeBounds, faults: Faults
) -> Batch:
    """The good lines of a metrics page; the others are in faults, by line.

    Refusal (400) where too many lines are bad, or the page as a whole is.
    """
    while True:
        try:
            page = read_page(body, at_ms=at_ms, openmetrics=openmetrics)
            break
        except ExpositionError as err:
            body = _without_line(body, err, faults)
    values, times = array("d", page.values), page.times_ms
    batch = Batch(tuple(page.lines), values, at_ms, times, page.metadata)
    return batch if times is None else _in_time(batch, bounds.fault, faults)


def _without_line(body: bytes, err: ExpositionError, faults: Faults) -> bytes:
    """The page with the bad line left empty, so that the others keep their numbers."""
    lines = body.split(b"\n")
    if not 1 <= err.line <= len(lines) or not lines[err.line - 1].strip():
        raise bad_data(str(err)) from err
    if faults.count >= _MAX_BAD_LINES:
        raise bad_data(f"more than {_MAX_BAD_LINES} bad lines; the last is {err}") from err
    faults.add("line", err.line, str(err).partition(": ")[2])
    lines[err.line - 1] = b""
    return b"\n".join(lines)


def _in_time(batch: Batch, check: Check, faults: Faults) -> Batch:
    """Without the samples whose own time is out of bounds, named by their index in the page."""
    assert batch.times_ms is not None
    keep = []
    for index, at_ms in enumerate(batch.times_ms):
        fault = check(at_ms)
        if fault:
            faults.add("index", index, f"{batch.lines[index]}: {fault}")
        else:
            keep.append(index)
    if len(keep) == len(batch.lines):
        return batch
    return Batch(
        tuple(batch.lines[i] for i in keep),
        array("d", [batch.values[i] for i in keep]),
        batch.at_ms,
        array("q", [batch.times_ms[i] for i in keep]),
        batch.metadata,
    )
