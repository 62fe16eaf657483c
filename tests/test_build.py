"""What is installed is what is in the tree: packages, their data, and no strangers."""

import configparser
from pathlib import Path

from tests.support import ROOT

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
PACKAGES = SETUP["options"]["packages"].split()


def test_every_package_is_installed_and_nothing_else_is() -> None:
    roots = {package.partition(".")[0] for package in PACKAGES}
    found = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for root in roots
        for init in (ROOT / root).rglob("__init__.py")
    }
    assert sorted(PACKAGES) == sorted(found)


def test_folders_that_would_shadow_libraries_are_no_packages() -> None:
    for folder in ("packaging", "grafana"):
        assert not list((ROOT / folder).rglob("__init__.py"))


def test_data_files_of_packages_are_installed() -> None:
    data = SETUP["options.package_data"]
    for package in PACKAGES:
        folder = ROOT.joinpath(*package.split("."))
        files = {
            file.relative_to(folder)
            for file in folder.rglob("*")
            if file.is_file() and file.suffix not in (".py", ".pyc", ".typed")
        }
        for other in PACKAGES:
            if other.startswith(package + "."):
                below = Path(*other.removeprefix(package + ".").split("."))
                files = {file for file in files if not file.is_relative_to(below)}
        patterns = [p.strip() for p in data.get(package, "").split(",") if p.strip()]
        missed = {file for file in files if not any(file.match(p) for p in patterns)}
        assert missed == set(), f"{package}: add them to package_data"
