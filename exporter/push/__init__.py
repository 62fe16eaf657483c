"""Push mode: pages sent to the API, from hosts that it cannot reach."""
