"""Random queries have one answer, however they are asked."""

import pytest

from fleetpulse.promql.engine import Engine
from tests.promql_fakes import FakeReader
from tests.promql_peer import difference, ours
from tests.promql_samples import held
from tests.promqlgen import Generator

BASE_MS = 1_700_000_000_000
AT_MS = BASE_MS + 2_345_950
SAMPLES = held(BASE_MS)


@pytest.mark.parametrize("batch", range(5))
def test_an_instant_is_a_step_of_a_range(batch: int) -> None:
    """Long and short windows are reckoned in different ways; nothing of that may show."""
    engine = Engine(FakeReader(SAMPLES))
    faults = []
    for number in range(40):
        query = Generator(f"{batch}/{number}", AT_MS / 1000).query(depth=4)
        if "start()" in query or "end()" in query:
            continue
        one = ours(engine.instant(query, AT_MS).data)
        many = ours(engine.range(query, AT_MS - 600_000, AT_MS + 600_000, 60_000).data)
        step = {row: {AT_MS: values[AT_MS]} for row, values in many.items() if AT_MS in values}
        faults += [f"{query}\n    {found}" for found in [difference(one, step)] if found]
    assert not faults, "\n".join(faults)


def test_a_seed_makes_the_same_query_each_time() -> None:
    first, again = (Generator("seed", 1.0).query() for _ in range(2))
    assert first == again != Generator("another", 1.0).query()
