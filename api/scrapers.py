"""What the scrapers know of their targets, put together of the answers of all of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.asking import NoAnswerError, Question, ask_all
from fleetpulse.values import ListenAddress

__all__ = ["Answers", "Ask", "NoAnswerError", "ask_targets", "gather"]

_TARGETS = Question("scraper", "targets", ("activeTargets", "droppedTargets"))

Ask = Callable[[ListenAddress, Mapping[str, str]], Mapping[str, Any]]


def ask_targets(address: ListenAddress, query: Mapping[str, str]) -> Mapping[str, Any]:
    """One scraper's targets. NoAnswerError."""
    found: Mapping[str, Any] = _TARGETS.ask(address, list(query.items()))
    return found


@dataclass(frozen=True, slots=True)
class Answers:
    """data in the shape of Prometheus; warnings: of scrapers that did not answer."""

    data: Mapping[str, Any]
    warnings: Sequence[str]
    answered: int


def gather(
    addresses: Sequence[ListenAddress], query: Mapping[str, str], ask: Ask = ask_targets
) -> Answers:
    """The targets of all scrapers. Shards find the same targets and drop the same ones."""
    answers, warnings = ask_all(addresses, lambda address: ask(address, query))
    active: list[Any] = []
    dropped: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for data in answers:
        active += data["activeTargets"]
        dropped |= {json.dumps(one, sort_keys=True): one for one in data["droppedTargets"]}
        for job, count in data.get("droppedTargetCounts", {}).items():
            counts[job] = max(count, counts.get(job, 0))
    active.sort(key=lambda one: (str(one.get("scrapePool")), str(one.get("scrapeUrl"))))
    found = {
        "activeTargets": active,
        "droppedTargets": list(dropped.values()),
        "droppedTargetCounts": counts,
    }
    return Answers(found, warnings, len(answers))
