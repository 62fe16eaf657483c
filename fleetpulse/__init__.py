"""FleetPulse's shared library: what every role needs and none of them owns."""

__version__ = "0.1.0"
