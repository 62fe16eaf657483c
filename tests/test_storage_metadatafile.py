"""What is known of metrics, in a file that the processes of a host share."""

import multiprocessing
from pathlib import Path

import pytest

from fleetpulse.errors import StorageError
from fleetpulse.model import Metadata
from fleetpulse.storage.metadatafile import MetadataFile

UP = Metadata("gauge", "Whether it answers: jä.", "")
BYTES = Metadata("counter", "Bytes.\nOf all.", "bytes")


def describe_many(path: Path, prefix: str) -> None:
    known = MetadataFile(path)
    for n in range(30):
        known.describe({f"{prefix}_{n}": Metadata("gauge", f"{prefix} {n}", "")})


def test_what_was_described_is_known_to_others(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    other = MetadataFile(path)
    assert other.load() == {}
    MetadataFile(path).describe({"up": UP})
    assert other.load() == {"up": UP}
    MetadataFile(path).describe({"bytes_total": BYTES})
    assert other.load() == {"up": UP, "bytes_total": BYTES}


def test_the_last_word_counts_and_the_same_again_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    known = MetadataFile(path)
    known.describe({"up": BYTES})
    known.describe({"up": UP})
    assert known.load() == {"up": UP}
    before = path.stat()
    known.describe({"up": UP})
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_two_processes_lose_nothing_of_each_others(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=describe_many, args=(path, name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    wanted = {f"{name}_{n}": f"{name} {n}" for name in ("a", "b") for n in range(30)}
    assert {name: one.help for name, one in MetadataFile(path).load().items()} == wanted


BROKEN = [
    pytest.param(b"", id="empty"),
    pytest.param(b'{"up":["gauge","x"', id="cut off"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b'{"up":3}', id="a number"),
    pytest.param(b'{"up":["gauge"]}', id="too little"),
    pytest.param(b'{"up":["gauge","x",3]}', id="a unit that is no text"),
    pytest.param(b'{"up":[["gauge"],"x",""]}', id="a type that is no text"),
    pytest.param(b"\xff\xfe", id="no text"),
    pytest.param(b"[" * 100_000, id="lists in lists"),
]


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_is_told_of_and_counts_as_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "metadata.json"
    path.write_bytes(content)
    known = MetadataFile(path)
    assert known.load() == {}
    assert f"{path}: cannot be read, and counts as empty" in caplog.text
    known.describe({"up": UP})
    assert known.load() == {"up": UP}


def test_a_broken_file_is_told_of_once_and_not_at_each_load(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metadata.json"
    path.write_bytes(b"{")
    known = MetadataFile(path)
    assert [known.load() for _ in range(3)] == [{}, {}, {}]
    assert len(caplog.records) == 1


def test_a_type_that_is_not_known_is_untyped(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    path.write_text('{"up":["summery","x",""]}')
    assert MetadataFile(path).load() == {"up": Metadata("untyped", "x", "")}


def test_a_folder_that_is_not_there_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "none" / "metadata.json"
    known = MetadataFile(path)
    assert known.load() == {}
    with pytest.raises(StorageError, match="metadata of metrics is not kept") as caught:
        known.describe({"up": UP})
    assert str(path) in str(caught.value)
    assert caught.value.retriable


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    (tmp_path / "metadata.json.new").mkdir()  # where root may write everywhere, a mode would not do
    with pytest.raises(StorageError, match="is not kept"):
        MetadataFile(path).describe({"up": UP})
