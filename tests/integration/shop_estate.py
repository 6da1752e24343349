"""The estate `shop`: a little of every kind, for tests that change one thing and look."""

from __future__ import annotations

from typing import Any

from tests.integration.estate_builder import EstateBuilder, cluster, free_policy, group, user
from tests.servers.postgres import PostgresServer

DATABASE: dict[str, Any] = {
    "name": "shop",
    "owner": "shop_owner",
    "connectionLimit": 40,
    "comment": "the shop's",
    "settings": {"default_statistics_target": 200},
    "schemas": [{"name": "app", "owner": "shop_owner", "comment": "its tables"}],
    "extensions": ["citext"],
    "public": {"database": ["CONNECT"]},
}


def fill_shop(estate: EstateBuilder, host: str, correct: str = "all") -> None:
    """Write the manifests, commit them, and give the secrets."""
    estate.settings["secrets"] = {"app": {"command": ["echo", "planted-app-password"]}}
    parameters = {"work_mem": "8MB", "log_lock_waits": True}
    reader = {"profile": "reader", "database": "shop", "schemas": ["app"]}
    writer = {"profile": "writer", "database": "shop", "schemas": ["app"]}
    lender = {
        "grant": {"schema": ["USAGE"], "table": ["SELECT"]},
        "database": "shop",
        "schemas": ["app"],
        "tables": ["t1"],
        "grantOption": True,
    }
    estate.documents = {
        "estate": [free_policy(correct)],
        "cluster": [cluster("c", host, postgres={"parameters": parameters}, databases=[DATABASE])],
        "roles": [
            group("shop-owner", "shop_owner", comment="owns"),
            group("readers", privileges=[reader]),
            group("writers", privileges=[writer], members={"roles": ["app"]}),
            group("lenders", privileges=[lender]),
            user(
                "app",
                auth={"method": "scram", "password": {"secret": "app"}},
                memberOf=["readers"],
                connectionLimit=20,
                validUntil="2099-06-30",
                comment="the application",
                settings={"statement_timeout": "5min"},
                databaseSettings={"shop": {"work_mem": "16MB"}},
            ),
            user("chief", auth={"method": "none"}, memberOf=[{"role": "readers", "admin": True}]),
        ],
    }
    estate.commit()


def make_tables(server: PostgresServer) -> None:
    """What an application would make by itself, as the owner."""
    server.sql(
        "SET ROLE shop_owner",
        "CREATE TABLE app.t1 (id serial PRIMARY KEY)",
        "CREATE TABLE app.t2 (id int)",
        "CREATE VIEW app.v1 AS SELECT 1 AS one",
        "RESET ROLE",
        database="shop",
    )


__all__ = ["DATABASE", "fill_shop", "make_tables"]
