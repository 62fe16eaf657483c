"""For how long samples and tiers are kept, by rules that the first match decides."""

from dataclasses import dataclass, field

from fleetpulse.matchers import Matcher
from fleetpulse.storage.embedded.horizon import Horizon
from fleetpulse.storage.embedded.schema import SPAN_MS
from fleetpulse.storage.embedded.windows import DAY_MS


@dataclass(frozen=True, slots=True)
class Rule:
    """matchers: the series it is about. raw, tiers: seconds that their samples, tiers are kept."""

    matchers: tuple[Matcher, ...]
    raw: float
    tiers: float


@dataclass(frozen=True, slots=True)
class Keeping:
    """raw, tiers: seconds, for series that no rule is about. max_bytes: 0 is no limit."""

    raw: float
    tiers: float
    rules: tuple[Rule, ...] = ()
    max_bytes: int = 0
    all_rules: tuple[Rule, ...] = field(init=False)

    def __post_init__(self) -> None:
        every = (*self.rules, Rule((), self.raw, self.tiers))
        object.__setattr__(self, "all_rules", every)

    @property
    def tiers_wanted(self) -> bool:
        return any(rule.tiers > 0 for rule in self.all_rules)

    @property
    def longest(self) -> float:
        """Seconds after which nothing is left of a sample that no rule is about."""
        return max(self.raw, self.tiers)


def due(keeping: Keeping, now_ms: int, untiered_day: int | None) -> list[Horizon]:
    """What is to be deleted at now_ms.

    Whole spans and days only. Samples whose tiers are not made yet (untiered_day: the first such)
    wait for them, where the tiers are kept longer; two days at most, should they never be made.
    """
    return [
        Horizon(rule.matchers, _raw_ms(rule, now_ms, untiered_day), _tier_ms(rule, now_ms))
        for rule in keeping.all_rules
    ]


def _raw_ms(rule: Rule, now_ms: int, untiered_day: int | None) -> int:
    before = now_ms - int(rule.raw * 1000)
    if rule.tiers > rule.raw and untiered_day is not None:
        before = max(min(before, untiered_day * DAY_MS), before - 2 * DAY_MS)
    return before // SPAN_MS * SPAN_MS


def _tier_ms(rule: Rule, now_ms: int) -> int:
    return (now_ms - int(rule.tiers * 1000)) // DAY_MS * DAY_MS
