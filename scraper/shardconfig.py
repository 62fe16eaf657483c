"""shard: which of several scrapers this one is."""

from typing import Self

from pydantic import Field, model_validator

from fleetpulse.yamlconf import Section


class ShardConfig(Section):
    """This scraper is the index-th, from 0, of so many."""

    index: int = Field(default=0, ge=0)
    of: int = Field(default=1, ge=1, le=1000)

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.index >= self.of:
            raise ValueError(f"index counts from 0: of {self.of} shards the last is {self.of - 1}")
        return self
