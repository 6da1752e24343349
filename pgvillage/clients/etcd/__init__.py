"""etcd v3 through its HTTP gateway: keys, transactions that compare before they write, leases, watches, health."""

from __future__ import annotations

from pgvillage.clients.etcd.client import EtcdClient
from pgvillage.clients.etcd.codec import KeyValue
from pgvillage.clients.etcd.faults import LeaseGone, NoSpace
from pgvillage.clients.etcd.health import EtcdAlarm, EtcdHealth, EtcdMember, EtcdStatus
from pgvillage.clients.etcd.txn import Compare, Delete, Operation, Put, Range, TxnAnswer
from pgvillage.clients.etcd.watch import Event, Events, Interrupted, Progress, Resync, WatchAnswer

__all__ = [
    "Compare",
    "Delete",
    "EtcdAlarm",
    "EtcdClient",
    "EtcdHealth",
    "EtcdMember",
    "EtcdStatus",
    "Event",
    "Events",
    "Interrupted",
    "KeyValue",
    "LeaseGone",
    "NoSpace",
    "Operation",
    "Progress",
    "Put",
    "Range",
    "Resync",
    "TxnAnswer",
    "WatchAnswer",
]
