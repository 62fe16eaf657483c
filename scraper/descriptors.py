"""Open files: one for each target's connection, and more targets than most shells allow files."""

import logging
import resource

log = logging.getLogger(__name__)

_OTHERS = 200  # the store's, the own server's, those of discoveries


def raise_limit() -> int:
    """Raises this process's limit as far as it goes, and answers with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as err:
            log.warning("the limit of open files stays at %d: %s", soft, err)
            return soft
    return hard


def connections(targets: int, limit: int) -> int:
    """How many connections may be kept for so many targets; says so where they are too few."""
    if targets + _OTHERS <= limit:
        return targets
    log.warning(
        "%d targets want %d open files and the limit is %d: connections are opened anew for each "
        "scrape of some; raise it with LimitNOFILE= in the systemd unit, or with ulimit -Hn",
        targets, targets + _OTHERS, limit,
    )  # fmt: skip
    return max(1, limit - _OTHERS)
