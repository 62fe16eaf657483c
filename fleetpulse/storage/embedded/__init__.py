"""Samples in one SQLite file: what FleetPulse stores to when nothing else is configured."""

from fleetpulse.storage.embedded.compaction import Compaction, CompactionLimits
from fleetpulse.storage.embedded.damage import KINDS as DAMAGE_KINDS
from fleetpulse.storage.embedded.keeping import Keeping, Rule
from fleetpulse.storage.embedded.retention import Expiry
from fleetpulse.storage.embedded.stats import Stats
from fleetpulse.storage.embedded.store import EmbeddedStore

__all__ = [
    "DAMAGE_KINDS",
    "Compaction",
    "CompactionLimits",
    "EmbeddedStore",
    "Expiry",
    "Keeping",
    "Rule",
    "Stats",
]
