"""A role that `fleetpulse up` started ends when `up` does, however that ends."""

import os
import signal

PARENT_VARIABLE = "FLEETPULSE_SUPERVISOR_PID"


def end_with_parent() -> None:
    """In a role: asks the kernel for SIGTERM when the supervisor dies."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return
    import ctypes

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    if str(os.getppid()) != parent:  # it died before we could ask
        os.kill(os.getpid(), signal.SIGTERM)
