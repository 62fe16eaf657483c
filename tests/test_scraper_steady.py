"""Pages of a target whose lines keep changing: divided, so that few layouts are new."""

import pytest

from scraper.lines import Readers
from scraper.page import Outcome, TargetPages
from tests.scraper_fakes import guards_of, job_of, samples_of, target_of

STAYS = "".join(f"stays{i} {i}\n" for i in range(100))


def churning(turn: int) -> bytes:
    return f'{STAYS}moves{{id="{turn}"}} {turn}\n'.encode()


def pages_of(bodies: list[bytes | None]) -> list[tuple[object, ...]]:
    """What is stored of pages a second apart; None is a scrape that failed."""
    target = TargetPages(target_of(job_of()), Readers(), guards_of())
    return [
        target.take(
            Outcome(turn * 1000, 0.1, body)
            if body is not None
            else Outcome(turn * 1000, 0.1, reason="timeout", error="timed out")
        ).pages
        for turn, body in enumerate(bodies)
    ]


def layouts(stored: list[tuple[object, ...]]) -> set[object]:
    return {page.layout.digest for pages in stored for page in pages}  # type: ignore[attr-defined]


def test_a_change_now_and_then_divides_nothing() -> None:
    bodies: list[bytes | None] = [churning(turn // 20) for turn in range(60)]
    stored = pages_of(bodies)
    assert max(map(len, stored)) == 2  # the page, and the marker of what is gone
    assert len(layouts(stored)) == 5


def test_the_steady_lines_of_a_restless_target_keep_one_layout() -> None:
    stored = pages_of([churning(turn) for turn in range(30)])
    later = stored[10:]
    lines = [len(page.layout) for pages in later for page in pages]  # type: ignore[attr-defined]
    assert sum(count > 100 for count in lines) == 20
    assert len({pages[0].layout for pages in later}) == 1  # type: ignore[attr-defined]
    assert max(count for count in lines if count < 100) == 2  # the line that came, the one gone


def calm_again() -> list[bytes | None]:
    return [churning(min(turn, 10)) for turn in range(120)]


def test_a_target_that_has_calmed_down_is_whole_again() -> None:
    stored = pages_of(calm_again())
    assert len(stored[12]) == 2
    assert [len(pages) for pages in stored[-10:]] == [1] * 10


SEQUENCES = [
    pytest.param([churning(turn) for turn in range(20)], id="a line moves"),
    pytest.param([*[churning(turn) for turn in range(9)], None, None, churning(9)], id="it fails"),
    pytest.param(
        [*[churning(turn) for turn in range(9)], b"stays1 5\n", churning(9), b"", churning(1)],
        id="most of it goes and comes",
    ),
    pytest.param(calm_again(), id="it calms down"),
]


@pytest.mark.parametrize("bodies", SEQUENCES)
def test_divided_or_not_the_same_is_stored(bodies: list[bytes | None]) -> None:
    alive: set[object] = set()
    for turn, pages in enumerate(pages_of(bodies)):
        samples = [sample for page in pages for sample in samples_of(page)]  # type: ignore[arg-type]
        found = {labels: value for labels, at_ms, value in samples if at_ms == turn * 1000}
        assert len(found) == len(samples)
        body = bodies[turn] or b""
        values = {one.partition(b" ")[0]: float(one.split()[-1]) for one in body.splitlines()}
        live = {labels for labels, value in found.items() if value is not None}
        named = {str(x.without("job", "instance")).encode(): found[x] for x in live}
        assert {name: named.get(name) for name in values} == values
        ended = {labels for labels, value in found.items() if value is None}
        assert ended >= alive - live
        alive = live
