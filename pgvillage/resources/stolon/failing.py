"""What `stolonctl failkeeper` writes: the sentinel takes the keeper for failed at its next look, once."""

from __future__ import annotations

import json

from pgvillage.core.address import quote_part
from pgvillage.resources.stolon.clusterdata import parse_clusterdata


def failing_leader(document: bytes, keeper: str) -> bytes:
    """The clusterdata in which `keeper`, which must lead, is to be taken for failed; the rest stays as it is.

    Raises ValueError when another leads meanwhile, or the document can't be read.
    """
    data = parse_clusterdata(document)
    if data.master_keeper != keeper:
        leads = quote_part(data.master_keeper) if data.master_keeper else "nobody"
        raise ValueError(f"keeper {quote_part(keeper)} leads no more: {leads} does")
    keepers = dict(data.document["keepers"])
    if keeper not in keepers:
        raise ValueError(f"stolon knows no keeper {quote_part(keeper)}")
    status = {**(keepers[keeper].get("status") or {}), "forceFail": True}
    keepers[keeper] = {**keepers[keeper], "status": status}
    whole = {**data.document, "keepers": keepers}
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()
