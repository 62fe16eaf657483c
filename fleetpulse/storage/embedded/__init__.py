"""Samples in one SQLite file: what FleetPulse stores to when nothing else is configured."""

from fleetpulse.storage.embedded.store import EmbeddedStore

__all__ = ["EmbeddedStore"]
