"""The configurations in the pages about stores are such that FleetPulse takes."""

import re
from pathlib import Path

import pytest

from fleetpulse_cli.sections import read_root
from tests.support import ROOT

PAGES = ("scale.md", "retention.md", "victoriametrics.md")


def snippets() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        parts = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        found += [(f"{page} {at + 1}", part) for at, part in enumerate(parts)]
    return found


@pytest.mark.parametrize(("_name", "text"), snippets(), ids=[name for name, _ in snippets()])
def test_a_snippet_is_a_configuration(_name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "vm.password").write_text("p")
    (tmp_path / "f.yml").write_text(text)
    read_root(tmp_path / "f.yml")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_a_configuration(page: str) -> None:
    assert any(name.startswith(page) for name, _ in snippets())


def test_links_lead_to_pages_that_are_there() -> None:
    for page in PAGES:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([a-z]+\.md)\)", text):
            assert (ROOT / "docs" / link).exists(), f"{page}: {link}"
