"""The `fleetpulse` command: reads the configuration, opens the stores, wires and runs the roles."""
