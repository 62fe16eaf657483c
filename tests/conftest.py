"""How hypothesis goes about it in all tests: always the same examples, and never by the clock."""

from hypothesis import settings

settings.register_profile("fleetpulse", deadline=None, derandomize=True)
settings.load_profile("fleetpulse")
