"""The access case of the benchmark in a small size: one apply, the tool-neutral judge, an empty plan."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from benchmarks.access import verify
from benchmarks.access_case import BASE, make_case, write_case
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES
from tests.servers.postgres import PostgresServer
from tests.servers.slapd import slapd


def test_the_access_case(pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path) -> None:
    case = tmp_path / "case"
    write_case(make_case(users=300, schemas=20, tables=10), case)
    environment = {**os.environ, "PGPASSWORD": pg.password}
    before = ["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(pg.port), "-U", "postgres", "-f"]
    subprocess.run([*before, case / "init.sql"], check=True, env=environment, capture_output=True)
    with slapd(tmp_path / "ldap", (case / "data.ldif").read_text()) as directory:
        estate = estate_of(pg)
        estate.settings["credentials"]["bench"] = estate.settings["credentials"]["admin"]
        estate.settings["directories"] = {"corp": {"uris": [directory.uri], "base": BASE, "startTls": False}}
        text = (case / "estate" / "estate.yaml").read_text().replace("@PORT@", str(pg.port))
        estate.documents = {"bench": [json.loads(each) for each in text.split("---\n")]}
        estate.commit()
        plan = estate.plan("--detailed-exitcode").done(EXIT_CHANGES)
        assert len(plan.statements) < len(plan.changes), "many changes become few statements"
        estate.apply().done()
        assert verify(pg, json.loads((case / "expected.json").read_text())) == []
        estate.settled()
