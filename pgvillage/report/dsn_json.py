"""What `pgvillage dsn -o json` writes, and its schema."""

from __future__ import annotations

from typing import Any

from pgvillage.core.client_target import ClientTarget, Driver, Role
from pgvillage.report.dsn import Dsn
from pgvillage.report.schema_parts import Schema, list_of, object_of, one_of, string

DSN_VERSION = 1


def dsn_document(target: ClientTarget, driver: Driver, dsn: Dsn, through: str, warnings: tuple[str, ...]) -> Any:
    return {
        "format_version": DSN_VERSION,
        "cluster": target.cluster,
        "role": target.role.value,
        "driver": driver.value,
        "hosts": target.authorities,
        "through": through or None,
        "database": target.database,
        "user": target.user or None,
        "connections": list(dsn.strings),
        "warnings": [*warnings, *dsn.warnings],
    }


def dsn_schema() -> Schema:
    return object_of(
        "How a client connects to a cluster; never with a password.",
        format_version={
            "const": DSN_VERSION,
            "description": "Rises when a reader of the version before would misread.",
        },
        cluster=string("The cluster's name."),
        role=one_of(list(Role), "The role that was asked for."),
        driver=one_of(list(Driver), "Whom the strings are for."),
        hosts=list_of(string("HOST:PORT."), "Where it connects, in order."),
        through=string("The proxy on the way; null for the nodes themselves.", null=True),
        database=string("The database."),
        user=string("The user; null leaves it to the driver.", null=True),
        connections=list_of(string("A connection string."), "One, or one a host where the driver takes one host."),
        warnings=list_of(string("A warning."), "What the driver can't do, and what to do instead."),
    )
