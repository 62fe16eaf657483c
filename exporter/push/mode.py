"""Push mode as the configuration has it: on, off, or exchanged by a reload."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.families import Found
from exporter.page import Style
from exporter.settings.push import PushConfig
from fleetpulse.errors import StartError
from fleetpulse.values import format_duration

if TYPE_CHECKING:
    from exporter.push.post import Post
    from exporter.push.pusher import Pusher

# What makes a page in a style.
Render = Callable[[Style], bytes]


def http_post(config: PushConfig) -> "Post":
    from exporter.push.post import HttpPost  # with requests, which a scraped host need not load

    return HttpPost(
        config.url,
        config.key_file or Path(),  # the model has seen to it that there is one
        config.server_name(),
        config.timeout,
        ca_file=config.ca_file,
    )


class Pushing:
    """start() and exchange() raise StartError where the spool in folder cannot be opened."""

    def __init__(
        self,
        config: PushConfig,
        folder: Path,
        render: Render,
        *,
        make_post: "Callable[[PushConfig], Post]" = http_post,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._folder, self._render = config, folder, render
        self._make_post, self._now = make_post, now
        self._pusher = self._made(config)
        self._started = False

    def start(self) -> None:
        self._started = True
        if self._pusher is not None:
            self._pusher.start()

    def stop(self) -> None:
        self._started = False
        if self._pusher is not None:
            self._pusher.stop()

    def exchange(self, config: PushConfig) -> None:
        """Goes on with another configuration; with the old one if the new cannot start."""
        if config == self._config:
            return
        old, new = self._pusher, self._made(config)
        if old is not None:
            old.stop()  # before the other starts: the spool has one owner
        if new is not None and self._started:
            try:
                new.start()
            except BaseException:
                self._pusher = self._made(self._config)
                if self._pusher is not None:
                    self._pusher.start()
                raise
        self._pusher, self._config = new, config

    def once(self) -> int:
        """Makes a page and sends all that waits, instead of start(); the exit code to end with."""
        from exporter.push.once import push_once

        if self._pusher is None:
            raise StartError("push mode is off; name the API with --push or exporter.push.url")
        return push_once(self._pusher)

    def healthy(self) -> bool:
        """Whether its threads do what they should."""
        return self._pusher is None or self._pusher.healthy()

    def families(self) -> Iterator[Found]:
        if self._pusher is not None:
            yield from self._pusher.families()

    @property
    def line(self) -> str:
        """How it goes, for people; empty without push mode."""
        push, pusher = self._config, self._pusher
        if pusher is None:
            return ""
        line = f"; push every {format_duration(push.interval)} to {push.url}"
        return f"{line}, {pusher.waiting} waiting: {pusher.trouble}" if pusher.trouble else line

    def _made(self, config: PushConfig) -> "Pusher | None":
        if not config.url:
            return None
        from exporter.push.pusher import Pusher
        from fleetpulse.storage.spool import Spool

        style, folder = Style.labelled(config.labels), self._folder
        return Pusher(
            lambda: self._render(style),
            self._make_post(config),
            lambda: Spool(
                folder / "push.spool",
                max_items=config.spool_pages,
                max_bytes=config.spool_max_bytes,
                max_age=config.spool_max_age,
            ),
            config.interval,
            folder / "push.refused.gz",
            now=self._now,
        )
