"""Jobs are planned and applied as everything else; only the ledger keeps them, and what it keeps can be trusted."""

from __future__ import annotations

import json

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES, Document, cluster, document, free_policy, user
from tests.servers.postgres import PostgresServer


def _job(name: str, cron: str, **spec: object) -> Document:
    steps = [{"name": "work", "file": "work.sql"}]
    schedule = {"cron": cron, "timeZone": "Europe/Amsterdam"}
    return document(
        "Job",
        name,
        clusters={"names": ["c"]},
        schedule=schedule,
        databases=["shop"],
        role="worker",
        steps=steps,
        **spec,
    )


def test_a_job_comes_changes_and_goes(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    (estate.repository / "work.sql").write_text("VACUUM;\n")
    job = _job("nightly", "0 3 * * *")
    job["spec"]["steps"][0]["transaction"] = False
    estate.documents = {"a": [free_policy(), cluster("c", pg.host, databases=[{"name": "shop"}]), user("worker"), job]}
    estate.commit()
    plan = estate.run("plan")
    assert "+ job nightly" in plan.text
    assert 'schedule: "0 3 * * * Europe/Amsterdam"' in plan.text
    assert "next 20" in plan.text
    estate.apply().done()
    estate.settled()
    assert pg.sql("SELECT count(*) FROM pgvillage.ledger WHERE address = 'job/nightly'") == [(1,)]

    (estate.repository / "work.sql").write_text("VACUUM ANALYZE;\n")
    estate.commit()
    changed = estate.run("plan", "-o", "json", "--detailed-exitcode").done(EXIT_CHANGES)
    assert set(changed.changes) == {"c/job/nightly"}
    estate.apply().done()
    estate.settled()

    pg.sql("UPDATE pgvillage.ledger SET wish = '{\"schedule\": 5}' WHERE address = 'job/nightly'")
    assert "+ job nightly" in estate.run("plan").text, "what can't be understood counts as not taken up"
    estate.apply().done()
    estate.settled()

    listed = json.loads(estate.run("job list", "-o", "json").out)["jobs"]
    assert [(each["name"], each["clusters"], each["runs"]) for each in listed] == [("nightly", ["c"], 1)]
    shown = json.loads(estate.run("job next", "-n", "3", "-o", "json").out)["next"]
    assert [each["local"][11:16] for each in shown] == ["03:00"] * 3
    assert "did you mean nightly?" in estate.run("job next", "nightli").err

    del estate.documents["a"][3]
    estate.commit()
    assert "- job nightly" in estate.run("plan").text
    estate.apply().done()
    estate.settled()
    assert pg.sql("SELECT count(*) FROM pgvillage.ledger WHERE address LIKE 'job/%'") == [(0,)]
