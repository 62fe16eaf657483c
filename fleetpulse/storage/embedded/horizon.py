"""What the retention has deleted: by rule, before what time there are no samples and no tiers.

The roles that read do not know the retention that is configured, and a longer one does not bring
back what is gone: what counts is what was done, and so it is written down.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fleetpulse.matchers import Matcher
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.windows import Mask

# Which of some series a matcher lets pass.
Passes = Callable[[Matcher], Mask]


@dataclass(frozen=True, slots=True)
class Horizon:
    """matchers: of the series it is about, unless an earlier one is; none: of all."""

    matchers: tuple[Matcher, ...]
    raw_ms: int
    tier_ms: int

    @property
    def rule(self) -> str:
        return json.dumps([[one.name, one.op, one.value] for one in self.matchers])


def load(db: sqlite3.Connection) -> list[Horizon]:
    """In the order of the rules; the last one has no matchers. Empty until the first expiry."""
    rows = db.execute("SELECT rule, raw_ms, tier_ms FROM horizon ORDER BY place")
    return [Horizon(_matchers(rule), raw_ms, tier_ms) for rule, raw_ms, tier_ms in rows]


def save(db: sqlite3.Connection, horizons: Sequence[Horizon]) -> None:
    db.execute("DELETE FROM horizon")
    rows = [(place, one.rule, one.raw_ms, one.tier_ms) for place, one in enumerate(horizons)]
    db.executemany("INSERT INTO horizon VALUES (?, ?, ?, ?)", rows)


def believed(horizons: Sequence[Horizon], now_ms: int) -> list[Horizon]:
    """Without those in the future: a clock that was wrong made them; none must delete or hide."""
    return [one for one in horizons if max(one.raw_ms, one.tier_ms) <= now_ms]


def raised(old: Sequence[Horizon], new: Sequence[Horizon], now_ms: int) -> list[Horizon]:
    """The new ones, none before what was deleted already of the series it may be about."""
    old = believed(old, now_ms)
    by_rule = {one.rule: one for one in old}
    names = {one.rule for one in new}
    # Series of a rule that is new, or of one that is gone, were under another before.
    whole = by_rule.keys() == names
    found = []
    for one in new:
        known = [by_rule[one.rule]] if whole else list(old)
        raw_ms = max([one.raw_ms, *(other.raw_ms for other in known)])
        tier_ms = max([one.tier_ms, *(other.tier_ms for other in known)])
        found.append(Horizon(one.matchers, raw_ms, tier_ms))
    return found


def rule_of(rules: Sequence[Sequence[Matcher]], passes: Passes, count: int) -> Ids:
    """Of each of count series the place of the first rule that is about it."""
    found = np.full(count, len(rules) - 1)
    for place in range(len(rules) - 2, -1, -1):
        mine = np.ones(count, bool)
        for matcher in rules[place]:
            mine &= passes(matcher)
        found[mine] = place
    return found


def _matchers(rule: str) -> tuple[Matcher, ...]:
    return tuple(Matcher(name, op, value) for name, op, value in json.loads(rule))
