"""What a restart, planned or not, does to alerts and messages."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from alertmanager_bridge.database import Database
from alertmanager_bridge.silences import Silence
from fleetpulse.errors import NotifyError, StartError, StorageError
from fleetpulse.matchers import Matcher
from tests.bridge_fakes import START, Ear, Rig, alert, integration
from tests.support import ROOT


def test_a_decided_message_is_sent_by_the_next_process(tmp_path: Path) -> None:
    deaf = Ear(NotifyError("down", retriable=True))
    with Rig(tmp_path, integration("ear", deaf)) as rig:
        rig.post(alert(host="a"))
        rig.run(30)
        clock = rig.clock
    ear = Ear()
    with Rig(tmp_path, integration("ear", ear), clock=clock) as rig:
        rig.run(60)
        assert ear.told == ["firing: a"]
        rig.run(3600)
        assert ear.told == ["firing: a"]


def test_the_next_process_knows_what_was_told(tmp_path: Path) -> None:
    one = alert(host="a")
    with Rig(tmp_path, integration("ear", Ear())) as rig:
        rig.post(one)
        rig.run(60)
        clock = rig.clock
    ear = Ear()
    with Rig(tmp_path, integration("ear", ear), clock=clock) as rig:
        rig.run(600)
        assert ear.told == []
        rig.post(replace(one, ends_at=rig.clock.at, updated_at=rig.clock.at))
        rig.run(600)
        assert ear.told == ["resolved: (a)"]
        assert rig.events("alert") == ["firing", "resolved"]


def test_an_alert_that_timed_out_while_the_bridge_was_down_resolves(tmp_path: Path) -> None:
    with Rig(tmp_path, integration("ear", Ear())) as rig:
        rig.post(replace(alert(host="a"), ends_at=START + 300, timed=True))
        rig.run(60)
        clock = rig.clock
    clock.at += 3600
    ear = Ear()
    with Rig(tmp_path, integration("ear", ear), clock=clock) as rig:
        rig.run(0)
        assert ear.told == ["resolved: (a)"]
        assert rig.events("alert") == ["firing", "resolved"]


def test_an_end_that_was_told_is_not_told_by_the_next_process(tmp_path: Path) -> None:
    with Rig(tmp_path, integration("ear", Ear())) as rig:
        one, other = alert(host="a"), alert(host="b")
        rig.post(one, other)
        rig.run(60)
        rig.post(replace(other, ends_at=rig.clock.at, updated_at=rig.clock.at))
        rig.run(300)
        rig.post(alert(host="c", at=rig.clock.at))
        rig.run(300)
        clock = rig.clock
    ear = Ear()
    with Rig(tmp_path, integration("ear", ear), clock=clock) as rig:
        rig.run(700)
        assert ear.told == []
        rig.post(alert(host="d", at=rig.clock.at))
        rig.run(300)
        assert ear.told == ["firing: a c d"]


def test_a_clock_that_was_set_back_meanwhile_holds_no_message_up(tmp_path: Path) -> None:
    deaf = Ear(NotifyError("down", retriable=True))
    with Rig(tmp_path, integration("ear", deaf)) as rig:
        rig.clock.at = START + 7200
        rig.post(alert(host="a", at=rig.clock.at))
        rig.run(30)
        clock = rig.clock
    clock.at = START
    ear = Ear()
    with Rig(tmp_path, integration("ear", ear), clock=clock) as rig:
        rig.run(60)
        assert ear.told == ["firing: a"]


def test_silences_outlive_the_process(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        silence = Silence((Matcher("host", "=", "a"),), START, START + 60, "me", "why")
        silence_id = rig.bridge.silences.set(silence, START)
    with Rig(tmp_path) as rig:
        assert rig.bridge.silences.get(silence_id).comment == "why"


def test_a_message_for_a_receiver_that_is_gone_is_dropped_and_said_so(tmp_path: Path) -> None:
    deaf = Ear(NotifyError("down", retriable=True))
    with Rig(tmp_path, integration("ear", deaf)) as rig:
        rig.post(alert(host="a"))
        rig.run(30)
    with Rig(tmp_path) as rig:
        assert rig.events("notification")[-1] == "dropped"
        labels = {"receiver": "ear", "integration": "webhook", "reason": "no_receiver"}
        assert rig.metric("notifications_dropped_total", **labels) == 1


def test_a_message_that_was_sent_but_not_noted_is_not_sent_twice(tmp_path: Path) -> None:
    class Breaking(Ear):
        def notify(self, message):  # type: ignore[no-untyped-def]
            super().notify(message)
            rig.bridge.database.execute(
                "CREATE TRIGGER full BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END"
            )

    ear = Breaking()
    with Rig(tmp_path, integration("ear", ear)) as rig:
        rig.post(alert(host="a", at=START - 60))
        with pytest.raises(StorageError, match="full"):
            rig.deliver()
        with pytest.raises(StorageError, match="full"):
            rig.deliver()
        rig.bridge.database.execute("DROP TRIGGER full")
        rig.deliver()
        assert ear.told == ["firing: a"]
        assert rig.events("notification") == ["decided", "sent"]


def test_a_group_whose_decision_cannot_be_written_gets_another_turn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ear = Ear()
    with Rig(tmp_path, integration("ear", ear)) as rig:
        rig.bridge.database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        rig.post(alert(host="a"))
        rig.run(60)
        assert rig.metric("internal_errors_total", loop="dispatcher") == 1
        assert "full" in caplog.text
        # Nothing of the failed decision is left: no note that the receiver was told.
        assert rig.bridge.database.query("SELECT * FROM notification_log") == []
        rig.bridge.database.execute("DROP TRIGGER full")
        rig.run(300)
        assert ear.told == ["firing: a"]


_FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.bridge_fakes import Ear, Rig, alert, integration
folder, ear = Path(sys.argv[1]), Ear()
with Rig(folder, integration("ear", ear)) as rig:
    rig.post(alert(host="first"))
    rig.run(60)
    # From here on no file can grow.
    most = max(file.stat().st_size for file in folder.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    for number in range(500):
        rig.post(alert(f"Disk{number}", host=str(number), at=rig.clock.at - 60))
        rig.run(1)
    print(len(ear.told))
"""


def test_a_full_disk_does_not_keep_alerts_from_being_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "501", done.stderr


def test_the_reserve_is_made_up_when_it_was_used(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        database = rig.bridge.database

        def free() -> int:
            pages: int = database.query("PRAGMA freelist_count")[0][0]
            return pages

        whole = free()
        database.execute("INSERT INTO reserve VALUES (zeroblob(3000000))")
        assert free() < whole / 2
        database.keep_reserve()
        assert free() >= whole


def test_two_bridges_on_one_file_are_refused(tmp_path: Path) -> None:
    first, second = Database(tmp_path / "b.db"), Database(tmp_path / "b.db")
    first.open()
    with pytest.raises(StartError, match="another bridge is using this file"):
        second.open(wait=0)
    first.close()
    second.open(wait=0)
    second.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot open the bridge's state"):
        Database(tmp_path / "file" / "b.db").open(wait=0)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "b.db").write_text("garbage" * 1000)
    with pytest.raises(StartError, match="cannot open the bridge's state"):
        Database(tmp_path / "b.db").open(wait=0)


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "b.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StartError, match="newer FleetPulse"):
        Database(tmp_path / "b.db").open(wait=0)


def test_the_state_is_for_the_owner_only(tmp_path: Path) -> None:
    database = Database(tmp_path / "b.db")
    database.open()
    files = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.glob("b.db*")}
    database.close()
    assert files == dict.fromkeys(("b.db", "b.db-wal", "b.db-shm", "b.db.lock"), 0)


def test_a_closed_state_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="closed"):
        Database(tmp_path / "b.db").query("SELECT 1")
