"""Lists of ids as one SQL parameter."""

import json
from collections.abc import Sequence

from fleetpulse.storage.embedded.labeltable import Ids

IN_LIST = "IN (SELECT value FROM json_each(?))"


def id_list(ids: Ids | Sequence[int]) -> str:
    """The parameter that goes with IN_LIST."""
    return json.dumps(list(ids) if isinstance(ids, Sequence) else ids.tolist())
