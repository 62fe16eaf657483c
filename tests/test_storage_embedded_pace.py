"""How much the housekeeping does in one transaction, and how long it rests after it."""

import pytest

from fleetpulse.storage.embedded.pace import Pace

# How long the turns take, in seconds, then how many of 1000 the next may take.
TURNS = [
    pytest.param([], 250, id="it begins with a quarter"),
    pytest.param([0.005, 0.005], 1000, id="short ones let it do more, to the limit"),
    pytest.param([0.1], 62, id="a long one lets it do less by as much"),
    pytest.param([0.025] * 5, 250, id="just right stays as it is"),
    pytest.param([10.0] * 9, 10, id="never less than a hundredth"),
]


@pytest.mark.parametrize(("takes", "expected"), TURNS)
def test_a_turn_tells_how_large_the_next_may_be(takes: list[float], expected: int) -> None:
    now, rests = [0.0], list[float]()
    pace = Pace(clock=lambda: now[0], rest=rests.append)
    for seconds in takes:
        with pace.turn():
            now[0] += seconds
    assert pace.of(1000) == expected
    assert rests == pytest.approx([min(2 * seconds, 0.05) for seconds in takes])


def test_it_is_at_least_one() -> None:
    assert Pace().of(1) == 1
