"""The limit of open files: raised, and told of where it is too low all the same."""

import resource

import pytest

from scraper.descriptors import connections, raise_limit


def test_the_limit_is_raised_as_far_as_it_goes() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        assert raise_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# targets, limit, connections kept, whether the log says something
KEPT = [
    pytest.param(10, 1024, 10, False, id="there is room"),
    pytest.param(824, 1024, 824, False, id="just enough"),
    pytest.param(10_000, 1024, 824, True, id="not enough"),
    pytest.param(10, 64, 1, True, id="next to none"),
]


@pytest.mark.parametrize(("targets", "limit", "kept", "told"), KEPT)
def test_what_does_not_fit_is_told(
    targets: int, limit: int, kept: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert connections(targets, limit) == kept
    assert ("LimitNOFILE" in caplog.text) == told
