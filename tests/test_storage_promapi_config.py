from pathlib import Path

import pytest

from fleetpulse.errors import ConfigError
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse.yamlconf import parse_model
from tests.promapi_fakes import config

CLUSTER = {"insert_url": "http://in:8480", "select_url": "http://out:8481/"}

PLACES = [
    pytest.param(
        {"url": "http://vm:8428/"},
        "http://vm:8428/api/v1/write",
        "http://vm:8428",
        id="a single node",
    ),
    pytest.param(
        {"url": "http://vm:8428/prefix", "protocol": "influx"},
        "http://vm:8428/prefix/api/v2/write",
        "http://vm:8428/prefix",
        id="line protocol and a path in front",
    ),
    pytest.param(
        CLUSTER,
        "http://in:8480/insert/0/prometheus/api/v1/write",
        "http://out:8481/select/0/prometheus",
        id="a cluster, tenant 0",
    ),
    pytest.param(
        {**CLUSTER, "tenant": "7:2", "protocol": "influx"},
        "http://in:8480/insert/7:2/influx/api/v2/write",
        "http://out:8481/select/7:2/prometheus",
        id="a cluster, account and project, line protocol",
    ),
    pytest.param(
        {**CLUSTER, "tenant": ""},
        "http://in:8480/api/v1/write",
        "http://out:8481",
        id="two addresses without tenants",
    ),
]


@pytest.mark.parametrize(("given", "write_url", "read_url"), PLACES)
def test_addresses_follow_from_the_configuration(
    given: dict[str, str], write_url: str, read_url: str
) -> None:
    found = config(**{"url": None, **given})
    assert (found.write_url, found.read_url) == (write_url, read_url)


FAULTS = [
    pytest.param("tenant: 1", "give url, or for a cluster both", id="no address"),
    pytest.param("insert_url: http://a:1", "both insert_url and select_url", id="half a cluster"),
    pytest.param("url: http://a:1\nselect_url: http://a:1", "either it or", id="both kinds"),
    pytest.param("url: vm:8428", "1: url: is no URL", id="a URL without http"),
    pytest.param("url: http://u:p@vm:1", "1: url: holds a password", id="password in URL"),
    pytest.param("url: http://vm:1?x=y", "1: url: has a query", id="a query in the URL"),
    pytest.param("tenant: a/b\nurl: http://vm:1", "1: tenant: is no tenant", id="a path as tenant"),
    pytest.param("tenant: '4294967296'\nurl: http://vm:1", "is no tenant", id="too large an id"),
    pytest.param(
        "url: http://vm:1\ntoken: a\ntoken_file: b", "token and token_file are", id="two tokens"
    ),
    pytest.param(
        "url: http://vm:1\nusername: u\ntoken: t", "goes without a token", id="two identities"
    ),
    pytest.param("url: http://vm:1\npassword: p", "without username", id="a password of nobody"),
    pytest.param(
        "url: http://vm:1\ncert_file: c",
        "go together",
        id="a certificate without key",
    ),
    pytest.param("url: http://vm:1\nengine: mine", "'own' or 'passthrough'", id="no such engine"),
    pytest.param("url: http://vm:1\nprotcol: x", "did you mean protocol", id="no such key"),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_the_configuration_names_its_faults(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        parse_model(f"{text}\nkind: victoriametrics", PromApiConfig, file="f.yml", base=Path())


TENANTS = [
    pytest.param("tenant: 7", "7", id="a bare number"),
    pytest.param("tenant: 7:2", "7:2", id="no quotes needed, though YAML has a time there"),
    pytest.param("tenant: '7:2'", "7:2", id="quotes do no harm"),
    pytest.param("", "0", id="the tenant that all clusters have"),
]


@pytest.mark.parametrize(("text", "wanted"), TENANTS)
def test_a_tenant_is_what_was_written(text: str, wanted: str) -> None:
    cluster = "kind: victoriametrics\ninsert_url: http://a:1\nselect_url: http://b:1\n"
    found = parse_model(cluster + text, PromApiConfig, file="f.yml", base=Path())
    assert found.tenant == wanted


def test_no_secret_prints() -> None:
    assert "s3cret" not in repr(config(token="s3cret"))
    assert "s3cret" not in repr(config(username="u", password="s3cret"))
