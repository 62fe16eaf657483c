import json
import stat
import threading
from pathlib import Path

import pytest

from api.keys import KeyStore
from fleetpulse.errors import StartError

NOW = 1_700_000_000.0


class Clock:
    time = NOW

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "keys.json"


@pytest.fixture
def store(path: Path, clock: Clock) -> KeyStore:
    return KeyStore(path, now=clock)


def test_a_new_key_opens_and_tells_who_it_is(store: KeyStore) -> None:
    info, plaintext = store.create("push", "web1", note="rack 7")
    assert store.authenticate(plaintext) == info
    assert (info.scope, info.server, info.note, info.created) == ("push", "web1", "rack 7", NOW)
    assert plaintext.startswith(f"fp_{info.id}_")
    assert len(plaintext.rpartition("_")[2]) == 64, "256 bits"


def test_the_file_holds_no_secret_and_is_for_its_owner_alone(store: KeyStore, path: Path) -> None:
    _, plaintext = store.create("admin")
    assert plaintext.rpartition("_")[2] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def altered(key: str) -> str:
    return key[:-1] + ("0" if key[-1] != "0" else "1")


WRONG = [
    pytest.param(lambda key: "", id="nothing"),
    pytest.param(lambda key: "fp_", id="a beginning"),
    pytest.param(altered, id="one digit of the secret is another"),
    pytest.param(lambda key: key + "0", id="too long"),
    pytest.param(lambda key: key.upper(), id="in capitals"),
    pytest.param(lambda key: "fp_00000000_" + key[12:], id="the right secret, another id"),
    pytest.param(lambda key: key + "\n", id="with a line feed"),
    pytest.param(lambda key: "ü" * 80, id="no ASCII"),
]


@pytest.mark.parametrize("change", WRONG)
def test_anything_else_does_not_open(store: KeyStore, change: "object") -> None:
    _, plaintext = store.create("admin")
    assert callable(change)
    assert store.authenticate(change(plaintext)) is None


def test_a_revoked_key_is_shut_at_once_in_every_process(store: KeyStore, path: Path) -> None:
    info, plaintext = store.create("read")
    other = KeyStore(path)
    assert other.authenticate(plaintext)
    store.revoke(info.id)
    assert other.authenticate(plaintext) is None
    assert other.list()[0].revoked == NOW
    assert not other.any_active()


def test_to_revoke_twice_keeps_the_first_time(store: KeyStore, clock: Clock) -> None:
    info, _ = store.create("read")
    store.revoke(info.id)
    clock.time += 5
    again = store.revoke(info.id)
    assert again is not None
    assert again.revoked == NOW


def test_to_revoke_what_is_not_there_changes_nothing(store: KeyStore) -> None:
    store.create("read")
    assert store.revoke("0000000x") is None
    assert len(store.list()) == 1


def test_a_key_is_good_until_it_expires(store: KeyStore, clock: Clock) -> None:
    _, plaintext = store.create("read", expires=NOW + 60)
    clock.time = NOW + 59.9
    assert store.authenticate(plaintext)
    clock.time = NOW + 60
    assert store.authenticate(plaintext) is None
    assert not store.any_active()


REFUSED = [
    pytest.param({"scope": "write"}, "choose one of read, push, admin", id="an unknown scope"),
    pytest.param({"scope": "read", "server": "a"}, "scope push", id="a server for a reader"),
    pytest.param({"scope": "read", "expires": NOW}, "later time", id="expired from the start"),
]


@pytest.mark.parametrize(("wish", "message"), REFUSED)
def test_a_key_that_makes_no_sense_is_not_made(
    store: KeyStore, path: Path, wish: "dict[str, object]", message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        store.create(**wish)  # type: ignore[arg-type]
    assert not path.exists()


SCOPES = [
    pytest.param("read", "read", id="read may read"),
    pytest.param("push", "push", id="push may push"),
    pytest.param("admin", "read push admin", id="admin may do all"),
]


@pytest.mark.parametrize(("scope", "allowed"), SCOPES)
def test_a_scope_allows_what_it_says(store: KeyStore, scope: str, allowed: str) -> None:
    info, _ = store.create(scope)  # type: ignore[arg-type]
    found = [name for name in ("read", "push", "admin") if info.allows(name)]
    assert " ".join(found) == allowed


DAMAGE = [
    pytest.param("", id="empty"),
    pytest.param("{", id="cut off"),
    pytest.param("[]", id="a list"),
    pytest.param('{"version": 2, "keys": []}', id="of a later version"),
    pytest.param('{"keys": [{"id": "x"}]}', id="an entry that lacks something"),
    pytest.param('{"keys": [], "open": true}', id="a field that is not known"),
]


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_file_is_never_an_open_door(store: KeyStore, path: Path, text: str) -> None:
    _, plaintext = store.create("admin")
    path.write_text(text)
    for attempt in (
        lambda: store.authenticate(plaintext),
        store.any_active,
        store.list,
        lambda: store.create("admin"),
    ):
        with pytest.raises(StartError, match=r"keys\.json: the keys cannot be read"):
            attempt()
    assert path.read_text() == text, "what is damaged is left for whoever can mend it"


def test_a_restored_file_works_again(store: KeyStore, path: Path) -> None:
    _, plaintext = store.create("admin")
    good = path.read_text()
    path.write_text("{")
    with pytest.raises(StartError):
        store.authenticate(plaintext)
    path.write_text(good)
    assert store.authenticate(plaintext)


def test_no_file_is_no_keys(store: KeyStore) -> None:
    assert store.list() == []
    assert not store.any_active()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be"):
        KeyStore(tmp_path / "file" / "keys.json").create("read")


def test_makers_of_keys_do_not_overwrite_each_other(path: Path) -> None:
    def make() -> None:
        for _ in range(5):
            KeyStore(path).create("read")

    makers = [threading.Thread(target=make) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(30)
    assert len(json.loads(path.read_text())["keys"]) == 20
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".keys-")] == []
