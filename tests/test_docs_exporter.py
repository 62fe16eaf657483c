"""docs/exporter.md says what there is: every collector, and what its defaults are."""

import re

import pytest

from exporter.settings.names import COLLECTOR_NAMES, OFF
from tests.support import ROOT

TEXT = (ROOT / "docs/exporter.md").read_text()


@pytest.mark.parametrize("name", COLLECTOR_NAMES)
def test_every_collector_is_in_the_table_with_its_default(name: str) -> None:
    [row] = re.findall(rf"^\|[^|]*`{name}`[^|]*\| (yes|no) \|", TEXT, re.MULTILINE)
    assert row == ("no" if name in OFF else "yes")


REASONS = ["not_finite", "below_range", "above_range", "above_whole", "went_backwards", "name_taken"]


def test_every_reason_for_leaving_a_value_out_is_told() -> None:
    from exporter import block

    known = {value for name, value in vars(block).items() if name.isupper() and value in REASONS}
    assert known == set(REASONS)
    for reason in REASONS:
        assert f"`{reason}`" in TEXT
