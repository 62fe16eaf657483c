"""Rule groups a page at a time, as Prometheus' /api/v1/rules gives them out.

Both the rule runner, which has the groups, and the API, which puts those of several runners
together, do this.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Paging:
    """limit: most groups in one answer, 0 for all. token: where to begin, of the page before."""

    limit: int = 0
    token: str = ""

    @classmethod
    def parse(cls, limit: str, token: str) -> "Paging":
        """group_limit and group_next_token as they came. ValueError in Prometheus' words."""
        if not limit and token:
            raise _invalid(
                "group_next_token",
                "group_limit needs to be present in order to paginate over the groups",
            )
        if not limit:
            return cls()
        try:
            number = int(limit)
        except ValueError:
            number = _MOST + 1
        if number > _MOST:
            raise _invalid("group_limit", "group_limit needs to be a valid number")
        if number <= 0:
            raise _invalid("group_limit", "group_limit needs to be greater than 0")
        return cls(number, token)

    def page(self, groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The answer's data. ValueError where no group is the one that the token stands for."""
        if not self.limit:
            return {"groups": groups}
        start = 0
        if self.token:
            tokens = [_token(group) for group in groups]
            if self.token not in tokens:
                message = f"invalid group_next_token '{self.token}'. were rule groups changed?"
                raise _invalid("group_next_token", message)
            start = tokens.index(self.token)
        end = start + self.limit
        data: dict[str, Any] = {"groups": groups[start:end]}
        return data | {"groupNextToken": _token(groups[end])} if end < len(groups) else data


def _token(group: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{group['file']};{group['name']}".encode()).hexdigest()


def _invalid(name: str, message: str) -> ValueError:
    return ValueError(f'invalid parameter "{name}": {message}')
