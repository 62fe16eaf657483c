"""Several stores behind one writer, of which one may refuse."""

from collections.abc import Mapping, Sequence

import pytest

from fleetpulse.errors import StorageError
from fleetpulse.model import Labels, Metadata, Page
from fleetpulse.storage import tee
from fleetpulse.storage.tee import Tee


class Store:
    """Takes pages unless error is set."""

    def __init__(self, error: StorageError | None = None) -> None:
        self.error = error
        self.pages: list[Page] = []

    def write(self, pages: Sequence[Page]) -> None:
        if self.error is not None:
            raise self.error
        self.pages += pages

    def describe(self, metadata: Mapping[str, Metadata]) -> None: ...

    def close(self) -> None: ...


def page(at_ms: int) -> Page:
    return Page.of(Labels.of(job="a"), at_ms, {Labels.of(__name__="up"): 1.0})


AWAY = StorageError("away", retriable=True)
DAMAGED = StorageError("damaged", retriable=False)


@pytest.mark.parametrize("refusing", [0, 1])
def test_pages_that_come_again_are_stored_once(refusing: int) -> None:
    stores = [Store(), Store()]
    both, first, second = Tee(*stores), page(1), page(2)
    stores[refusing].error = AWAY
    for batch in ([first], [first], [first, second]):
        with pytest.raises(StorageError):
            both.write(batch)
    stores[refusing].error = None
    both.write([first, second])
    assert [store.pages for store in stores] == [[first, second]] * 2


def test_a_damaged_store_keeps_nothing_from_the_other() -> None:
    damaged, good = Store(DAMAGED), Store()
    with pytest.raises(StorageError) as refused:
        Tee(damaged, good).write([page(1)])
    assert not refused.value.retriable
    assert len(good.pages) == 1


def test_pages_come_again_while_any_store_may_take_them() -> None:
    with pytest.raises(StorageError) as refused:
        Tee(Store(DAMAGED), Store(AWAY)).write([page(1)])
    assert refused.value.retriable


def test_what_comes_again_after_all_took_it_is_written_again() -> None:
    store, again = Store(), page(1)
    both = Tee(store, Store())
    both.write([again])
    both.write([again])
    assert store.pages == [again, again]


def test_pages_that_never_come_again_are_not_kept_for_ever() -> None:
    both = Tee(Store(), Store(AWAY))
    most = tee._REMEMBERED
    for at_ms in range(0, 3 * most, most // 2):
        with pytest.raises(StorageError):
            both.write([page(at_ms + k) for k in range(most // 2)])
    assert len(both._taken[0]) == most
