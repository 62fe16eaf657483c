"""What the store's process tests run: `python -m tests.store_processes ROLE FILE`.

write: pages without end, telling each committed time on standard output.
burst HOST COUNT: as many pages of one host, each with a line of its own now and then.
compact: folds everything there is, over and over.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from fleetpulse.model import Labels, Page
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore
from tests.store_fakes import MINUTE, T0, line

# More than one transaction's worth, and a fold is stopped in its middle.
LINES = [line("m", n=str(number)) for number in range(200)]


def at_ms(turn: int) -> int:
    return T0 + turn * 1000


def value(turn: int, number: int) -> float:
    return float(turn * 1000 + number)


def write(store: EmbeddedStore) -> None:
    turn = 0
    while True:
        lines = {one: value(turn, number) for number, one in enumerate(LINES)}
        store.write([Page.of(Labels.of(host="h"), at_ms(turn), lines)])
        print(turn, flush=True)
        turn += 1


def burst(store: EmbeddedStore, host: str, count: str) -> None:
    for turn in range(int(count)):
        lines = {line("shared"): float(turn), line("own", host=host, part=str(turn // 10)): 1.0}
        store.write([Page.of(Labels.of(target=host), at_ms(turn), lines)])


def compact(store: EmbeddedStore) -> None:
    while True:
        done = store.compact(CompactionLimits(min_age=0, gather=0, batch_pages=10))
        print(done.pages, flush=True)


ROLES: dict[str, Callable[..., None]] = {"write": write, "burst": burst, "compact": compact}


def main(role: str, file: str, *rest: str) -> None:
    store = EmbeddedStore(Path(file), now=lambda: (T0 + 600 * MINUTE) / 1000)
    try:
        ROLES[role](store, *rest)
    finally:
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
