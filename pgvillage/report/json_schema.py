"""JSON Schemas of plan and run documents: `python -m pgvillage.report.json_schema --write schemas/`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pgvillage.core.change import Action, Origin, Risk
from pgvillage.core.plan import Status, System
from pgvillage.core.run import Outcome
from pgvillage.core.schema_files import write_or_say_how
from pgvillage.report.access_schema import access_schema, role_schema
from pgvillage.report.chat_webhook import notice_schema
from pgvillage.report.dsn_json import dsn_schema
from pgvillage.report.saved import FORMAT_VERSION
from pgvillage.report.schema_parts import Schema
from pgvillage.report.schema_parts import count as _count
from pgvillage.report.schema_parts import flag as _flag
from pgvillage.report.schema_parts import list_of as _list
from pgvillage.report.schema_parts import object_of as _object
from pgvillage.report.schema_parts import one_of as _one_of
from pgvillage.report.schema_parts import ref as _ref
from pgvillage.report.schema_parts import string as _string

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DIGEST = "^[0-9a-f]{64}$"


_VERSION = {"const": FORMAT_VERSION, "description": "Rises when a reader of the version before would misread."}
_REVISION = _string("The commit of the estate repository; with a suffix for uncommitted changes.")
_ADDRESS = _string("Address of an object: cluster/kind/name, names quoted where they need it.", pattern="^[^/]+/[^/]+/")
_TARGET = _string(f"A cluster's name, or cluster:system for a system other than {System.POSTGRES}.", minLength=1)


def _source() -> Schema:
    place = {"file": _string("File in the estate repository."), "line": _count("Line in it; 0 is unknown.")}
    entry = {"directory": _string("Name of the directory in the settings."), "entry": _string("Its entry.")}
    manifest = _object("A place in a manifest.", **place)
    directory = _object("An entry of a directory, and the place that lets it ask.", **entry, **place)
    return {"description": "Who asks for it.", "oneOf": [manifest, directory]}


def _impact() -> Schema:
    return _object(
        "What applying does besides.",
        reload=_flag("The configuration is reloaded."),
        restart=_flag("It takes effect at a restart."),
        lock=_string("A lock that others will notice.", null=True),
    )


def _change() -> Schema:
    state = {"type": ["object", "null"], "additionalProperties": True}
    return _object(
        "One difference between desired and live.",
        address=_ref("address"),
        actions=_list(_one_of(["create", "update", "delete"], "One action."), "Replace is delete, create.", minItems=1),
        origin=_one_of(list(Origin), "Merged in Git, changed by hand on the target, or changed in a directory."),
        reason=_string("Why, where the source alone does not say it.", null=True),
        source=_source(),
        before={**state, "description": "Live; null where it does not exist. Sensitive fields are absent."},
        after={**state, "description": "Desired; null where it must not exist. Sensitive fields are absent."},
        sensitive_changed=_list(_string("A field's name."), "Sensitive fields that differ, by name alone."),
        risk=_one_of(list(Risk), "What the change can cost, in rising order; see docs/policy.md."),
        impact=_impact(),
        held=_string("Why policy holds it back, or it can't be done; null when it would be applied.", null=True),
        depends_on=_list(_ref("address"), "Changes that come first."),
    )


def _step() -> Schema:
    common = {
        "addresses": _list(_ref("address"), "The changes it serves."),
        "database": _string("Where it runs; null is the maintenance database.", null=True),
        "transactional": _flag("Whether it shares a transaction with its neighbours."),
    }
    patch: Schema = {"type": "object", "description": "A merge patch (RFC 7396) to the cluster specification."}
    return {
        "description": "One piece of an apply, in order.",
        "oneOf": [
            _object("A statement.", **common, sql=_string("SQL; secrets are named, not contained.")),
            _object("A patch.", **common, patch=patch),
            _object(
                "What is no statement: of the HA engine, or a row of the ledger.",
                **common,
                action=_string("A restart, a switchover, a wait; a job that is taken up."),
            ),
        ],
    }


def _gate() -> Schema:
    return _object(
        "An objection of policy to a target's plan.",
        target=_ref("target"),
        rule=_string("The rule's name."),
        message=_string("What it objects to."),
        approvable=_flag("Whether an approval of the target's digest opens it."),
        open=_flag("Whether it is open, because somebody approved."),
        blocking=_flag("Whether it stops the whole target while closed, or holds some changes back."),
    )


def _planned_target() -> Schema:
    unread = _object(
        "A part that could not be read: nothing in it counts as absent.",
        kind=_string("Kind of object; * is every kind."),
        prefix=_list(_string("Part of a name."), "How the names in it begin."),
        reason=_string("Why."),
    )
    return _object(
        "The plan of one target.",
        address=_ref("target"),
        status=_one_of(list(Status), "Whether there is a plan."),
        observed_at=_string("When it was read.", null=True, format="date-time"),
        digest=_string("What an approval approves; null without a plan.", null=True, pattern=_DIGEST),
        complete=_flag("Whether all of it could be read."),
        changes=_list(_ref("change"), "Every difference by address, held ones too."),
        steps=_list(_step(), "What an apply would do, in order."),
        unread=_list(unread, "Parts that could not be read."),
        error=_string("Why there is no plan.", null=True),
    )


def _diagnostic() -> Schema:
    return _object(
        "Something a person should know; it changes nothing.",
        severity=_one_of(["error", "warning", "info"], "How much it matters."),
        message=_string("What was found."),
        target={"anyOf": [_ref("target"), {"type": "null"}], "description": "Where; null is the whole estate."},
        address={"anyOf": [_ref("address"), {"type": "null"}], "description": "Which object, if one."},
    )


def plan_schema() -> Schema:
    """The schema of what `plan -o json` and `plan --out` write."""
    counts = {action.value: _count(f"Changes that would {action}.") for action in Action}
    summary = _object(
        "Counts.",
        **counts,
        held=_count("Changes that are held back."),
        clusters=_count("Clusters in the scope."),
        unreachable=_count("Clusters of them that could not be read."),
    )
    body = _object(
        "A plan: what differs on each target, what would be done, and what stands in the way.",
        format_version=_VERSION,
        plan_id=_string("SHA-256 over the revision and the targets' digests.", pattern=_DIGEST),
        revision=_REVISION,
        dirty=_flag("Whether the checkout had uncommitted changes."),
        scope=_list(_string("An option."), "The options that limit the plan; empty is the whole estate."),
        applyable=_flag("Whether an apply would do something: a target has changes and no closed gate that blocks it."),
        complete=_flag("Whether everything in the scope could be read."),
        summary=summary,
        gates=_list(_gate(), "Every objection, open or not."),
        targets=_list(_planned_target(), "By address."),
        diagnostics=_list(_diagnostic(), "Findings, errors first."),
    )
    return _published("plan", body)


def run_schema() -> Schema:
    """The schema of what `apply -o json` writes."""
    target = _object(
        "What happened on one target.",
        address=_ref("target"),
        outcome=_one_of(list(Outcome), "How it ended."),
        digest=_string("Digest of the plan it had; null without one.", null=True, pattern=_DIGEST),
        done=_list(_ref("change"), "Done, by address."),
        left=_list(_ref("change"), "Planned and not done, by address."),
        unsettled=_list(_ref("address"), "Done, and different again on a fresh look."),
        error=_string("What went wrong.", null=True),
        notes=_list(_string("A note."), "What a person should know besides."),
        statements=_count("Steps that were done."),
    )
    outcomes = {outcome.value: _count(f"Targets: {outcome}.") for outcome in Outcome}
    counts = {"done": "done", "left": "not done", "unsettled": "done and different again"}
    summary = _object(
        "Counts.",
        **{name: _count(f"Changes {words}.") for name, words in counts.items()},
        statements=_count("Steps that were done."),
        outcomes=_object("Targets by outcome.", **outcomes),
    )
    body = _object(
        "A run: what an apply did.",
        format_version=_VERSION,
        revision=_REVISION,
        summary=summary,
        gates=_list(_gate(), "Every objection, open or not."),
        targets=_list(target, "By address."),
        diagnostics=_list(_diagnostic(), "Findings, errors first."),
    )
    return _published("run", body)


def _published(name: str, body: Schema) -> Schema:
    defs = {"address": _ADDRESS, "target": _TARGET, "change": _change()}
    return {"$schema": DIALECT, "$id": f"urn:pgvillage:v1:{name}", **body, "$defs": defs}


def schemas() -> dict[str, Schema]:
    """File name -> JSON Schema."""
    found = {"plan": plan_schema(), "run": run_schema(), "access": access_schema(), "role-access": role_schema()}
    found["notice"] = notice_schema()
    found["dsn"] = dsn_schema()
    head = {"$schema": DIALECT}
    return {f"{name}.json": {**head, "$id": f"urn:pgvillage:v1:{name}", **body} for name, body in found.items()}


def main(arguments: Sequence[str]) -> int:
    """Write the schemas' files into a folder, or say how."""
    return write_or_say_how(arguments, "pgvillage.report.json_schema", schemas())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
