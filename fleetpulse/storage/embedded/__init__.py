"""Samples in one SQLite file: what FleetPulse stores to when nothing else is configured."""

from fleetpulse.storage.embedded.backup import backup, restore
from fleetpulse.storage.embedded.census import Census
from fleetpulse.storage.embedded.compaction import Compaction, CompactionLimits
from fleetpulse.storage.embedded.damage import KINDS as DAMAGE_KINDS
from fleetpulse.storage.embedded.keeping import Keeping, Rule
from fleetpulse.storage.embedded.recent import RecentPages
from fleetpulse.storage.embedded.retention import Expiry
from fleetpulse.storage.embedded.stats import Stats
from fleetpulse.storage.embedded.store import EmbeddedStore
from fleetpulse.storage.embedded.verification import Verification, verify

__all__ = [
    "DAMAGE_KINDS",
    "Census",
    "Compaction",
    "CompactionLimits",
    "EmbeddedStore",
    "Expiry",
    "Keeping",
    "RecentPages",
    "Rule",
    "Stats",
    "Verification",
    "backup",
    "restore",
    "verify",
]
