"""http_sd_configs: a server that answers with target groups as JSON."""

import json
from typing import Any

from pydantic import ValidationError

from scraper.client import Client, Request
from scraper.fetch import Answer, Fetcher, without_query
from scraper.protocols import media_type
from scraper.sdconfig import HttpSdConfig, TargetGroup
from scraper.sources import DiscoveryError

_MAX_BODY = 32 << 20  # bytes, unpacked
_MAX_SECONDS = 30.0  # for one answer, where refresh_interval is longer
_MAX_TARGETS = 200_000
_URL_LABEL = "__meta_url"


class HttpAsker:
    """One URL. Its requests are made as a job's: TLS, login, headers, proxy, redirects."""

    mechanism = "http"

    def __init__(self, config: HttpSdConfig) -> None:
        self._config = config
        self.subject = without_query(config.url)

    def ask(self) -> tuple[TargetGroup, ...]:
        answer = self._fetch()
        if answer.reason:
            raise DiscoveryError(answer.error)
        if media_type(answer.content_type) != "application/json":
            kind = answer.content_type[:80]
            raise DiscoveryError(f"the answer is {kind!r}; Content-Type must be application/json")
        return parse_groups(answer.body, self._config.url)

    def _fetch(self) -> Answer:
        config = self._config
        timeout = min(config.refresh_interval, _MAX_SECONDS)
        interval = f"X-Prometheus-Refresh-Interval-Seconds: {config.refresh_interval:g}"
        request = Request(config.url, timeout, _MAX_BODY, (interval,))
        client = Client(config, whose=self.subject, accept="application/json")
        fetcher, answers = Fetcher(max_connections=1), list[Answer]()
        try:
            fetcher.start(client, request, answers.append)
            while not answers:  # libcurl's time limit ends it
                fetcher.run(timeout)
        finally:
            fetcher.close()
            client.close()
        return answers[0]


def parse_groups(body: bytes, url: str) -> tuple[TargetGroup, ...]:
    """The groups of an answer, each with the URL as a label. DiscoveryError for the first fault."""
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise DiscoveryError(f"the answer is no JSON: {err}") from None
    if not isinstance(data, list):
        raise DiscoveryError('the answer is no list of groups, as in [{"targets": ["host:9100"]}]')
    try:
        groups = [TargetGroup.model_validate(entry) for entry in data]
    except ValidationError as err:
        fault = err.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise DiscoveryError(
            f"a group of the answer has a fault: {where}: {fault['msg']}"
        ) from None
    if sum(len(group.targets) for group in groups) > _MAX_TARGETS:
        raise DiscoveryError(f"the answer has more than {_MAX_TARGETS} targets")
    return tuple(
        group.model_copy(update={"labels": {**group.labels, _URL_LABEL: url}}) for group in groups
    )
