"""How well the clock is kept, as adjtimex(2) tells; psutil does not know of it."""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator

from exporter.collectors.base import Host, NoDataError
from fleetpulse.model import MetricFamily, counter, gauge

_CLOCK_ERROR = 5  # TIME_ERROR: the clock is not synchronised
_STA_NANO = 0x2000  # in status: offset and jitter are in nanoseconds, not microseconds
_MICRO, _NANO = 1e-6, 1e-9
_SCALED_PPM = 1e-6 / 65536  # parts per million with a 16-bit fraction


class Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_sec", ctypes.c_long),
        ("time_usec", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


def adjtimex() -> tuple[int, Timex]:
    """The clock's state and figures; changes nothing. OSError where the kernel refuses."""
    buffer = Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    state = int(libc.adjtimex(ctypes.byref(buffer)))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return state, buffer


class TimexCollector:
    """node_timex_*."""

    name = "timex"

    def __init__(self, _host: Host, read_clock: Callable[[], tuple[int, Timex]] = adjtimex) -> None:
        self._read_clock = read_clock

    def collect(self) -> Iterator[MetricFamily]:
        try:
            return families(*self._read_clock())
        except OSError as err:
            if err.errno in (errno.EPERM, errno.EACCES):  # as containers often have it
                raise NoDataError("adjtimex is not permitted here") from err
            raise


def families(state: int, clock: Timex) -> Iterator[MetricFamily]:
    fine = _NANO if clock.status & _STA_NANO else _MICRO
    gauges = (
        ("sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
         float(state != _CLOCK_ERROR)),
        ("offset_seconds", "Time offset in between local system and reference clock.",
         clock.offset * fine),
        ("frequency_adjustment_ratio", "Local clock frequency adjustment.",
         1 + clock.freq * _SCALED_PPM),
        ("maxerror_seconds", "Maximum error in seconds.", clock.maxerror * _MICRO),
        ("estimated_error_seconds", "Estimated error in seconds.", clock.esterror * _MICRO),
        ("status", "Value of the status array bits.", clock.status),
        ("loop_time_constant", "Phase-locked loop time constant.", clock.constant),
        ("tick_seconds", "Seconds between clock ticks.", clock.tick * _MICRO),
        ("pps_frequency_hertz", "Pulse per second frequency.", clock.ppsfreq * _SCALED_PPM),
        ("pps_jitter_seconds", "Pulse per second jitter.", clock.jitter * fine),
        ("pps_shift_seconds", "Pulse per second interval duration.", clock.shift),
        ("pps_stability_hertz",
         "Pulse per second stability, average of recent frequency changes.",
         clock.stabil * _SCALED_PPM),
        ("tai_offset_seconds", "International Atomic Time (TAI) offset.", clock.tai),
    )  # fmt: skip
    counters = (
        ("pps_jitter_total", "jitter limit exceeded events", clock.jitcnt),
        ("pps_calibration_total", "calibration intervals", clock.calcnt),
        ("pps_error_total", "calibration errors", clock.errcnt),
        ("pps_stability_exceeded_total", "stability limit exceeded events", clock.stbcnt),
    )
    for name, help_text, value in gauges:
        yield gauge(f"node_timex_{name}", help_text, value)
    for name, what, count in counters:
        yield counter(f"node_timex_{name}", f"Pulse per second count of {what}.", count)
