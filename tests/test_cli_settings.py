"""The file as a whole: the example, sections, reload, the data folder."""

import dataclasses
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from fleetpulse.errors import ConfigError, StartError
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse_cli.exporter_role import ExporterFile
from fleetpulse_cli.sections import SECTIONS, expose, read_root, root_model, whole_file
from fleetpulse_cli.settings import Settings, find_file, prepare_data_dir
from tests.support import ROOT

EXAMPLE = ROOT / "fleetpulse.example.yml"


def test_the_example_is_what_no_file_at_all_means() -> None:
    # dict(): each reading makes its own class of root.
    assert dict(read_root(EXAMPLE)) == dict(read_root(None))


def keys(section: BaseModel | Any) -> Iterator[str]:
    """The names of all keys of a section and of the sections in it, less those only refused."""
    if isinstance(section, BaseModel):
        fields = type(section).model_fields.items()
        names = [name for name, field in fields if not field.exclude]
    else:
        names = [field.name for field in dataclasses.fields(section)]
    for name in names:
        yield name
        value = getattr(section, name)
        if isinstance(value, BaseModel) or (
            dataclasses.is_dataclass(value) and "key" in dataclasses.fields(value)[0].metadata
        ):
            yield from keys(value)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_in_the_example(section: str) -> None:
    text = EXAMPLE.read_text()
    (part,) = re.findall(rf"^{section}:\n(.*?)(?=^[a-z]|\Z)", text, re.DOTALL | re.MULTILINE)
    known = set(re.findall(r"^[\s#]*-?\s*([a-z_]+):", part, re.MULTILINE))
    wanted = set(keys(getattr(read_root(None), section)))
    if section == "storage":
        for remote in (Influx1Config, Influx2Config, PromApiConfig):
            wanted |= set(remote.model_fields) - {"token", "password"}
    assert wanted - known == set()


def commented(kind: str) -> str:
    """The storage section that the example has for another kind, as a file of its own."""
    (part,) = re.findall(
        rf"^# (storage:\n#   kind: {kind}\n(?:#.*\n)*)", EXAMPLE.read_text(), re.MULTILINE
    )
    return re.sub(r"^# ?", "", part, flags=re.MULTILINE)


def test_the_examples_victoriametrics_is_what_its_url_alone_means(tmp_path: Path) -> None:
    text = commented("victoriametrics")
    found = read_root(write(tmp_path / "f.yml", text), ["storage"]).storage
    url = "http://127.0.0.1:8428"
    assert found == PromApiConfig(kind="victoriametrics", url=url)
    cluster = text.replace(f"  url: {url} ", "  # url: x").replace("  # insert", "  insert")
    cluster = cluster.replace("  # select", "  select").replace("  # tenant", "  tenant")
    found = read_root(write(tmp_path / "g.yml", cluster), ["storage"]).storage
    assert found.read_url == "http://vmselect:8481/select/0/prometheus"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_faults_of_all_sections_come_at_once(tmp_path: Path) -> None:
    text = (
        "api: {threads: 0}\nexporter: {top: {cuont: 1}}\nbridge: {lissten: x}\n"
        "storage: {kind: postgres}\nzzz: 1\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_root(write(tmp_path / "f.yml", text))
    heads = [fault.split("f.yml:")[1].split(": ")[:2] for fault in caught.value.faults]
    assert heads == [
        ["1", "api.threads"],
        ["2", "exporter.top.cuont"],
        ["3", "bridge.lissten"],
        ["4", "storage"],
        ["5", "zzz"],
    ]


def test_a_role_that_needs_one_section_is_not_stopped_by_another(tmp_path: Path) -> None:
    path = write(tmp_path / "f.yml", "api: {threads: 0}\nexporter: {collector_timeout: 9s}")
    assert read_root(path, ["exporter"]).exporter.collector_timeout == 9.0


def test_keys_of_one_store_are_faults_in_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"storage\.bucket: no such key"):
        read_root(write(tmp_path / "f.yml", "storage: {bucket: x}"), ["storage"])
    with pytest.raises(ConfigError, match=r"storage\.bucket: missing"):
        read_root(write(tmp_path / "f.yml", "storage: {kind: influxdb2, url: 'http://x'}"))


def gauge(settings: Settings[Any], name: str) -> float | None:
    registry = CollectorRegistry()
    expose(settings, registry)
    return registry.get_sample_value(f"fleetpulse_config_{name}")


def test_a_bad_reload_keeps_the_old_one_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "f.yml", "api: {threads: 3}")
    clock = iter([100.0, 200.0])
    settings = whole_file(path, now=lambda: next(clock))
    write(path, "api: {threads: many}")
    assert not settings.reload()
    assert settings.current.api.threads == 3
    assert f"{path}:1: api.threads" in caplog.text
    assert gauge(settings, "last_reload_successful") == 0
    assert gauge(settings, "last_reload_success_timestamp_seconds") == 100
    write(path, "api: {threads: 4}")
    assert settings.reload()
    assert settings.current.api.threads == 4
    assert gauge(settings, "last_reload_successful") == 1
    assert gauge(settings, "last_reload_success_timestamp_seconds") == 200


def test_a_reload_that_the_role_refuses_counts_as_failed(tmp_path: Path) -> None:
    settings = whole_file(write(tmp_path / "f.yml", "api: {threads: 3}"))
    before = settings.current

    def refuse(_root: Any) -> None:
        raise ConfigError(["rules.yml:1: broken"])

    assert not settings.reload(refuse)
    assert settings.current is before


def test_a_fault_of_ours_in_a_reload_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = whole_file(write(tmp_path / "f.yml", "api: {threads: 3}"))
    before = settings.current

    def fail(_root: Any) -> None:
        raise RuntimeError("can't start new thread")

    assert not settings.reload(fail)
    assert settings.current is before
    assert not settings.successful
    assert "reload failed, the old configuration stays" in caplog.text


def test_two_reloads_do_not_overtake_each_other(tmp_path: Path) -> None:
    """Or what was read first could be what is in force at last."""
    settings = whole_file(write(tmp_path / "f.yml", "api: {threads: 3}"))
    applied: list[int] = []
    first_applies, go_on = threading.Event(), threading.Event()

    def slow(root: Any) -> None:
        first_applies.set()
        assert go_on.wait(30)
        applied.append(root.api.threads)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(settings.reload, slow)
        assert first_applies.wait(30)
        write(tmp_path / "f.yml", "api: {threads: 4}")
        second = pool.submit(settings.reload, lambda root: applied.append(root.api.threads))
        go_on.set()
        assert first.result(30)
        assert second.result(30)
    assert applied == [3, 4]


def test_a_file_that_this_user_cannot_look_for() -> None:
    with pytest.raises(StartError, match="cannot be read: File name too long"):
        find_file(Path("x" * 300))


_AS_NOBODY = """
import os, sys
from fleetpulse_cli.settings import find_file
os.chdir(sys.argv[1])
os.seteuid(65534)
print(find_file(None))
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may be nobody"
)
def test_a_folder_that_this_user_cannot_enter_has_no_file_for_it(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    write(tmp_path / "closed" / "fleetpulse.yml", "")
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(tmp_path / "closed")], cwd=ROOT,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "None\n"


def test_no_file_of_the_name_given(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no such configuration file"):
        find_file(tmp_path / "none.yml")


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="choose another with --data-dir"):
        prepare_data_dir(tmp_path / "file" / "data")


def test_roles_that_start_together_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(prepare_data_dir, [tmp_path / "data"] * 400))
    assert len(folders) == 400
    assert list((tmp_path / "data").iterdir()) == []


def test_unknown_sections_name_the_known_ones() -> None:
    model = root_model({})
    assert set(model.model_fields) == {"log_level", "log_format", *SECTIONS}


def test_the_exporter_lets_the_others_sections_pass() -> None:
    assert {field.name for field in dataclasses.fields(ExporterFile)} == set(
        root_model({}).model_fields
    )
