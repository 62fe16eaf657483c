"""Jobs on a schedule: the embedded store is compacted and forgets what is too old."""

from array import array
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fleetpulse.backend import Job, open_storage
from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storageconfig import EmbeddedConfig, Retention
from fleetpulse_cli.housekeeping import Housekeeping


def test_a_failed_job_is_counted_and_the_others_are_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise RuntimeError("disk on fire")

    registry, done = CollectorRegistry(), []
    jobs = [Job("bad", 60, fail), Job("good", 60, lambda: done.append(1))]
    Housekeeping(jobs, registry).run_all()
    assert done == [1]
    assert "disk on fire" in caplog.text
    name = "fleetpulse_housekeeping_failures_total"
    assert registry.get_sample_value(name, {"job": "bad"}) == 1
    assert registry.get_sample_value(name, {"job": "good"}) == 0


def test_the_embedded_store_forgets_what_is_too_old(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    config = EmbeddedConfig(retention=Retention(raw="1d"))
    layout = Layout((Labels.of(__name__="up"),))
    with open_storage(config, tmp_path, "scraper", registry) as storage:
        old = [Page(Labels.of(job="a"), layout, 1000 * i, array("d", [1.0])) for i in range(50)]
        storage.writer.write(old)
        assert len(storage.reader.select([], 0, 10**15, Hints())) == 1
        Housekeeping(storage.jobs, registry).run_all()
        assert list(storage.reader.select([], 0, 10**15, Hints())) == []
    assert registry.get_sample_value("fleetpulse_store_pages") == 0
    assert (registry.get_sample_value("fleetpulse_store_bytes") or 0) > 0


@pytest.mark.parametrize(("jump", "direction"), [(9e6, "forward"), (-9e6, "back")])
def test_a_clock_that_jumps_is_counted_and_the_jobs_are_planned_anew(
    jump: float, direction: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry, wall, done = CollectorRegistry(), [1e9], list[int]()
    job = Job("one", 1, lambda: done.append(1))
    housekeeping = Housekeeping([job], registry, now=lambda: wall[0], steady=lambda: 0.0)
    housekeeping.look()
    wall[0] += jump
    housekeeping.look()
    housekeeping.look()

    name = "fleetpulse_clock_jumps_total"
    assert registry.get_sample_value(name, {"direction": direction}) == 1
    assert "9000000 s" in caplog.text
    housekeeping.run_all()
    assert done == [1]
