"""Silences: a person's word that alerts with certain labels are to be quiet for a while."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from alertmanager_bridge.database import Database
from alertmanager_bridge.matching import LabelFilter
from fleetpulse.errors import FleetPulseError
from fleetpulse.matchers import Matcher, MatchOp

SilenceState = Literal["active", "pending", "expired"]
_ORDER: dict[SilenceState, int] = {"active": 0, "pending": 1, "expired": 2}

RETENTION = 120 * 3600.0  # seconds an expired silence can still be looked at


class SilenceError(FleetPulseError):
    """A silence that cannot be taken; the message says why."""


class NoSuchSilenceError(FleetPulseError):
    """There is no silence of this id."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Times in Unix seconds. id is empty for one that is new."""

    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float
    created_by: str
    comment: str
    id: str = ""
    updated_at: float = 0.0

    def state(self, now: float) -> SilenceState:
        if now < self.starts_at:
            return "pending"
        return "active" if now <= self.ends_at else "expired"

    def to_json(self) -> dict[str, Any]:
        return {
            "matchers": [[matcher.name, matcher.op, matcher.value] for matcher in self.matchers],
            "starts_at": self.starts_at,
            "ends_at": self.ends_at,
            "created_by": self.created_by,
            "comment": self.comment,
            "id": self.id,
            "updated_at": self.updated_at,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Silence":
        matchers = tuple(
            Matcher(name, cast(MatchOp, op), value) for name, op, value in data["matchers"]
        )
        return cls(matchers, **{key: data[key] for key in data if key != "matchers"})


def check(silence: Silence, now: float) -> None:
    """SilenceError where Alertmanager would not take it either."""
    if not silence.matchers:
        raise SilenceError("silence invalid: at least one matcher required")
    if all(matcher.matches_empty for matcher in silence.matchers):
        raise SilenceError(
            "silence invalid: at least one matcher must not match the empty string, "
            "or every alert would be silenced"
        )
    if silence.starts_at >= silence.ends_at:
        raise SilenceError("Failed to create silence: start time must be before end time")
    if silence.ends_at < now:
        raise SilenceError("Failed to create silence: end time can't be in the past")


def _may_change(old: Silence, new: Silence, now: float) -> bool:
    """Whether new is a change of old; else it takes old's place under an id of its own."""
    if old.matchers != new.matchers:
        return False
    state = old.state(now)
    if state == "active":
        return int(old.starts_at) == int(new.starts_at) and new.ends_at >= now
    return state == "pending" and new.starts_at >= now


class Silences:
    """All silences, in memory and in the database. The database's lock guards both."""

    def __init__(self, database: Database, limit: int) -> None:
        self._database, self._limit = database, limit
        self._known: dict[str, tuple[Silence, LabelFilter]] = {}

    def load(self) -> None:
        for row in self._database.query("SELECT body FROM silences"):
            silence = Silence.from_json(json.loads(row["body"]))
            self._known[silence.id] = (silence, LabelFilter(silence.matchers))

    def set(self, silence: Silence, now: float) -> str:
        """Adds or changes a silence; its id. Raises SilenceError or NoSuchSilenceError."""
        check(silence, now)
        with self._database.transaction():
            old = self.get(silence.id) if silence.id else None
            if old is not None and _may_change(old, silence, now):
                self._save(silence, now)
                return silence.id
            if len(self._known) >= self._limit:
                raise SilenceError(f"there are {self._limit} silences already; expire some first")
            if old is not None:
                self.expire(old.id, now)
            new = replace(silence, id=str(uuid.uuid4()), starts_at=max(silence.starts_at, now))
            self._save(new, now)
            return new.id

    def expire(self, silence_id: str, now: float) -> None:
        """Ends a silence at once. Raises NoSuchSilenceError."""
        with self._database.transaction():
            silence = self.get(silence_id)
            state = silence.state(now)
            if state != "expired":
                starts_at = now if state == "pending" else silence.starts_at
                self._save(replace(silence, starts_at=starts_at, ends_at=now), now)

    def _save(self, silence: Silence, now: float) -> None:
        silence = replace(silence, updated_at=now)
        self._database.execute(
            "INSERT OR REPLACE INTO silences VALUES (?, ?, ?)",
            (silence.id, json.dumps(silence.to_json()), silence.ends_at),
        )
        self._known[silence.id] = (silence, LabelFilter(silence.matchers))

    def get(self, silence_id: str) -> Silence:
        with self._database.lock:
            if silence_id not in self._known:
                raise NoSuchSilenceError(f"there is no silence {silence_id}")
            return self._known[silence_id][0]

    def find(self, matchers: Sequence[Matcher], now: float) -> list[Silence]:
        """Silences that have all these matchers themselves: active, pending, then expired."""
        with self._database.lock:
            found = [silence for silence, _ in self._known.values()]
        found = [silence for silence in found if set(matchers) <= set(silence.matchers)]
        return sorted(found, key=lambda silence: _place(silence, now))

    def silenced_by(self, labels: Mapping[str, str], now: float) -> list[str]:
        """Ids of the active silences that an alert with these labels falls under."""
        with self._database.lock:
            return sorted(
                silence.id
                for silence, accepts in self._known.values()
                if silence.starts_at <= now < silence.ends_at and accepts(labels)
            )

    def forget_old(self, now: float) -> None:
        with self._database.transaction():
            for silence, _ in list(self._known.values()):
                if silence.ends_at + RETENTION <= now:
                    self._database.execute("DELETE FROM silences WHERE id = ?", (silence.id,))
                    del self._known[silence.id]

    def counts(self, now: float) -> dict[SilenceState, int]:
        counts: dict[SilenceState, int] = dict.fromkeys(_ORDER, 0)
        with self._database.lock:
            for silence, _ in self._known.values():
                counts[silence.state(now)] += 1
        return counts


def _place(silence: Silence, now: float) -> tuple[int, float]:
    state = silence.state(now)
    when = {"active": silence.ends_at, "pending": silence.starts_at, "expired": -silence.ends_at}
    return _ORDER[state], when[state]
