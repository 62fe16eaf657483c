"""docs/exporter.md says what there is: every collector, and what its defaults are."""

import re

import pytest

from exporter.block import ABOVE_WHOLE, BACKWARDS, NOT_FINITE, TAKEN, TOO_LARGE, TOO_SMALL
from exporter.settings.names import COLLECTOR_NAMES, OFF
from tests.support import ROOT

TEXT = (ROOT / "docs/exporter.md").read_text()


@pytest.mark.parametrize("name", COLLECTOR_NAMES)
def test_every_collector_is_in_the_table_with_its_default(name: str) -> None:
    [row] = re.findall(rf"^\|[^|]*`{name}`[^|]*\| (yes|no) \|", TEXT, re.MULTILINE)
    assert row == ("no" if name in OFF else "yes")


@pytest.mark.parametrize(
    "reason", [NOT_FINITE, TOO_SMALL, TOO_LARGE, ABOVE_WHOLE, BACKWARDS, TAKEN]
)
def test_every_reason_for_leaving_a_value_out_is_told(reason: str) -> None:
    assert f"`{reason}`" in TEXT
