"""What a server's control file says of its standby-sensitive parameters: no SQL function shows these."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Literal

CONTROL_FILE = "SELECT pg_catalog.pg_read_binary_file('global/pg_control', 0, 204)"
# ControlFileData of src/include/catalog/pg_control.h on a 64-bit machine, the same in these formats (13-16, 17, 18):
# system_identifier at 0, pg_control_version at 8, MaxConnections and its four neighbours at 180.
_FORMATS = frozenset({1300, 1700, 1800})
_PARAMETERS_AT = 180
_PARAMETERS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)


def standby_sensitive(content: bytes, system_identifier: str) -> Mapping[str, str]:
    """The five parameters by name, as the control file has them: on a standby those that its primary runs with.

    {} for a file of another format, and for one that does not begin with this system's identifier.
    """
    order = _byte_order(content)
    if order is None or len(content) < _PARAMETERS_AT + 4 * len(_PARAMETERS):
        return {}
    prefix: Literal["<", ">"] = "<" if order == "little" else ">"
    if str(struct.unpack_from(f"{prefix}Q", content)[0]) != system_identifier:
        return {}
    values = struct.unpack_from(f"{prefix}5i", content, _PARAMETERS_AT)
    return dict(zip(_PARAMETERS, map(str, values), strict=True))


def _byte_order(content: bytes) -> Literal["little", "big"] | None:
    orders: tuple[Literal["little", "big"], ...] = ("little", "big")
    return next((order for order in orders if int.from_bytes(content[8:12], order) in _FORMATS), None)
