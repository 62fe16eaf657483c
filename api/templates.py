"""The table of named queries, and how a server and a window are put into one."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import yaml
from pydantic import TypeAdapter

from fleetpulse.matchers import Matcher
from fleetpulse.values import format_duration
from fleetpulse.yamlconf import Section

_MIN_WINDOW = 60.0


class Template(Section):
    """A query by name. promql holds $server among matchers and $window in range selectors."""

    name: str
    unit: str
    help: str
    promql: str

    def expr(self, server: str, window: float) -> str:
        """The query for one server, or for all if server is empty; window in seconds."""
        text = fill_server(self.promql, server)
        return text.replace("$window", format_duration(max(window, _MIN_WINDOW)))


def fill_server(promql: str, server: str) -> str:
    """promql with $server replaced by a matcher that is quoted whatever the name holds."""
    # A label value cannot hold another $server that matters: replace() does not look again.
    return promql.replace("$server", str(Matcher("instance", "=", server)) if server else "")


@dataclass(frozen=True, slots=True)
class Templates:
    by_name: Mapping[str, Template]

    @classmethod
    def load(cls) -> "Templates":
        """The table that is shipped beside this file."""
        text = resources.files("api").joinpath("query_templates.yml").read_text("utf-8")
        found = TypeAdapter(list[Template]).validate_python(yaml.safe_load(text))
        return cls({template.name: template for template in found})
