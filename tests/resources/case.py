"""Golden cases: a small language for manifests, a live server and what a plan must then say."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import pbkdf2_hmac, sha256
from hmac import digest as hmac_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import yaml

from pgvillage.core.address import Address, parse_address
from pgvillage.core.change import Change
from pgvillage.core.errors import ManifestError
from pgvillage.core.ledger import Ledger, LedgerEntry
from pgvillage.core.live import Capabilities, Live, Query
from pgvillage.core.lookup import GroupAnswer, GroupQuery, Lookups, Member, Unanswered
from pgvillage.core.password_mark import mark_of
from pgvillage.core.plan import Gate, System, TargetId, TargetPlan
from pgvillage.core.rotation import Rotation, passwords, read_logins
from pgvillage.core.secret import Absent, Secret, SecretsFound
from pgvillage.core.status import Suspension
from pgvillage.core.step import Step
from pgvillage.estate.loader import Manifests, load_manifests
from pgvillage.estate.view import ClusterView, group_queries, view_cluster
from pgvillage.resources import kinds
from pgvillage.settings import Settings
from pgvillage.usecases.observe import Observation, observe
from pgvillage.usecases.plan import Consent, plan_observed
from pgvillage.usecases.world import Reading

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REVISION = "r2"
_CLUSTER = """\
kind: Cluster
metadata: {name: c}
spec: {connection: {hosts: [pg1], credential: admin}, databases: [{name: app}]}
"""
# name: (vartype, unit, context, enumvals, boot value, least, most)
_GUCS: Mapping[str, tuple[Any, ...]] = {
    "work_mem": ("integer", "kB", "user", None, "4096", "64", "2147483647"),
    "shared_buffers": ("integer", "8kB", "postmaster", None, "16384", "16", "1073741823"),
    "statement_timeout": ("integer", "ms", "user", None, "0", "0", "2147483647"),
    "checkpoint_timeout": ("integer", "s", "sighup", None, "300", "30", "86400"),
    "random_page_cost": ("real", None, "user", None, "4", "0", "1.79769e+308"),
    "jit": ("bool", None, "user", None, "on", None, None),
    "synchronous_commit": ("enum", None, "user", ["local", "remote_write", "on", "off"], "on", None, None),
    "search_path": ("string", None, "user", None, '"$user", public', None, None),
    "shared_preload_libraries": ("string", None, "postmaster", None, "", None, None),
    "log_line_prefix": ("string", None, "sighup", None, "%m [%p] ", None, None),
    "TimeZone": ("string", None, "user", None, "GMT", None, None),
    "block_size": ("integer", None, "internal", None, "8192", "8192", "8192"),
}  # fmt: skip


def verifier(password: str, salt: bytes = b"0123456789abcdef", iterations: int = 64) -> str:
    """A SCRAM-SHA-256 verifier (RFC 5803), written here a second time on purpose."""
    salted = pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = sha256(hmac_digest(salted, b"Client Key", "sha256")).digest()
    server = hmac_digest(salted, b"Server Key", "sha256")
    texts = [b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{texts[0]}${texts[1]}:{texts[2]}"


def manifests_of(text: str) -> Manifests:
    """The documents of `text`, in which `apiVersion` goes without saying, and a Cluster `c` where none is written."""
    documents = [d for d in text.split("\n---\n") if d.strip()]
    if not any(d.startswith("kind: Cluster") for d in documents):
        documents.insert(0, _CLUSTER)
    with TemporaryDirectory() as folder:
        for number, document in enumerate(documents):
            (Path(folder) / f"{number:02}.yaml").write_text(f"apiVersion: pgvillage/v1\n{document}")
        return load_manifests(Path(folder))


@dataclass(frozen=True)
class Case:
    """One case: what stands in its file, and the plan that comes of it."""

    body: Mapping[str, Any]

    @property
    def live(self) -> Mapping[str, Any]:
        return self.body.get("live") or {}

    @cached_property
    def system(self) -> System:
        return System(self.body.get("system", "postgres"))

    @cached_property
    def manifests(self) -> Manifests:
        return manifests_of(self.body.get("manifests", ""))

    @cached_property
    def view(self) -> ClusterView:
        name = next(iter(self.manifests.clusters))
        return view_cluster(self.manifests, name, self._lookups())

    @cached_property
    def capabilities(self) -> Capabilities:
        given = self.body.get("capabilities") or {}
        return Capabilities(
            version=given.get("version", 15) * 10000 + 4,
            superuser=given.get("superuser", True),
            createrole=True,
            reads_verifiers=given.get("verifiers", True),
            reads_file_settings=given.get("files", True),
            role=given.get("role", "postgres"),
            system_identifier="7",
            maintenance="postgres",
            keeps_ledger=given.get("ledger", True),
            databases={n: not d.get("unread") for n, d in self._databases().items() if d.get("allow", True)},
            reads_hba=given.get("hba", True),
            createdb=given.get("createdb", True),
            acts_as=frozenset(given.get("actsAs", ())),
            becomes=frozenset(given.get("actsAs", ())),
            administers=frozenset(given.get("administers", ())),
        )

    def _lookups(self) -> Lookups:
        answers: dict[GroupQuery, GroupAnswer | Unanswered] = {}
        given = {entry["group"]: entry for entry in self.body.get("directory", ())}
        for query in group_queries(self.manifests, self.manifests.clusters):
            entry = given.get(query.group)
            if entry is None or "unanswered" in entry:
                answers[query] = Unanswered((entry or {"unanswered": "not asked"})["unanswered"])
                continue
            members = tuple(_member(each) for each in entry["members"])
            answers[query] = GroupAnswer(query.group, members, tuple(entry.get("skipped", ())))
        return Lookups(answers)

    def _databases(self) -> dict[str, dict[str, Any]]:
        names = self.live.get("databases", {"app": {}})
        return {"postgres": {}, **{name: entry or {} for name, entry in names.items()}}

    def _rows(self) -> dict[str, list[Any]]:
        roles = {"postgres": {"login": True, "superuser": True, "createdb": True, "createrole": True}}
        roles |= {name: entry or {} for name, entry in self.live.get("roles", {}).items()}
        databases = self._databases()
        return {
            "role": [_role_row(name, entry, self.capabilities) for name, entry in roles.items()],
            "membership": list(self._membership_rows()),
            "database": [_database_row(name, entry) for name, entry in databases.items()],
            "database_acl": [(n, d.get("owner", "postgres"), d.get("acl")) for n, d in databases.items()],
            "setting": [
                (e.get("role", ""), e.get("database", ""), [f"{k}={v}" for k, v in e["values"].items()])
                for e in self.live.get("settings", ())
            ],
            "available": [
                (name, entry.get("versions", ["1.0"]), entry.get("fixed"))
                for name, entry in self.live.get("available", {}).items()
            ],
            "pg_settings": [_guc_row(name, self.live.get("parameters", {}).get(name) or {}) for name in _GUCS],
            "file_settings": [
                (name, entry["file"], entry.get("system", False))
                for name, entry in self.live.get("parameters", {}).items()
                if "file" in entry
            ],
            "file_errors": [tuple(row) for row in self.live.get("fileErrors", ())],
            **self.live.get("rows", {}),
        }

    def _stolon_rows(self) -> dict[str, list[Any]]:
        """`keepers` of a cluster that is to be made: uid, and the system identifier of the data it holds, or null."""
        found = self.live.get("clusterdata")
        documents = [(json.dumps({"formatVersion": 1, **found}).encode(),)] if found else []
        keepers = self.live.get("keepers", {})
        keys = [
            (f"keepers/info/{uid}", json.dumps({"postgresState": {"systemID": system}}).encode(), True, 1)
            for uid, system in keepers.items()
        ]
        login = [(self.live["login"],)] if "login" in self.live else []
        return {"clusterdata": documents, "login": login, **({"keys": keys} if keepers else {})}

    def _membership_rows(self) -> Iterable[tuple[Any, ...]]:
        modern = self.capabilities.major >= 16
        for group, members in self.live.get("memberships", {}).items():
            for member in members:
                entry = {"member": member} if isinstance(member, str) else member
                row = (group, entry["member"], entry.get("admin", False))
                given_by = entry.get("grantors", [""])  # "" is who we are
                others = [name for name in given_by if name] or None
                modern_options = (entry.get("inherit", True), entry.get("set", True), others, "" in given_by)
                yield (*row, *(modern_options if modern else (None, None)))

    def answer(self, queries: Collection[Query]) -> Live:
        """What the server would say to these questions."""
        if self.system is System.STOLON:
            return Live(self.view.name, self._stolon_rows())
        if self.system is System.PATRONI:
            keys = {name: json.dumps(value).encode() for name, value in self.live["keys"].items()}
            keys |= {name: str(value).encode() for name, value in self.live.get("plain", {}).items()}
            return Live(self.view.name, {"keys": list(keys.items()), "login": [(self.live.get("login", "admin"),)]})
        rows = self._rows()
        declared = {d.name for d in self.view.databases}
        by_database, failures = {}, {}
        for name, entry in self._databases().items():
            if name not in declared:
                continue
            if entry.get("unread"):
                failures[name] = f"{self.view.name}: {entry['unread']}"
            else:
                by_database[name] = _rows_of_database(entry)
        shared = {q.name for q in queries if not q.each_database}
        each = {q.name for q in queries if q.each_database}
        # What the language has no words for is given as `rows`, as the catalogue query returns them.
        whole = {name: {n: found.get(n, []) for n in each} for name, found in by_database.items()}
        return Live(self.view.name, {n: rows.get(n, []) for n in shared}, whole, failures)

    def ledger(self) -> Ledger:
        return replace(self._entries(), suspension=_suspension(self.body.get("suspension")))

    def _entries(self) -> Ledger:
        given = self.body.get("ledger")
        if given is None:
            return Ledger()
        if "whyNot" in given:
            return Ledger(why_not=given["whyNot"])
        wishes = {r.address: r for kind in kinds(self.system).values() for r in kind.expand(self.view)}
        entries: dict[Address, LedgerEntry] = {}
        if given.get("applied"):  # all that the manifests ask for was applied before
            entries = {
                address: LedgerEntry(r.wish_fingerprint, made=True, directory=r.source.directory)
                for address, r in wishes.items()
            }
        for text, entry in (given.get("entries") or {}).items():
            address = parse_address(f"{self.view.name}/{text}")
            if entry is None:
                entries.pop(address, None)
            else:
                entries[address] = _ledger_entry(entry, wishes.get(address))
        return Ledger(usable=True, why_not="", revision=given.get("revision", ""), entries=entries)

    @cached_property
    def world(self) -> FakeWorld:
        return FakeWorld(self)

    @cached_property
    def seen(self) -> Observation:
        return asyncio.run(observe(self.world, TargetId(self.view.name, self.system), self.view))  # type: ignore[arg-type]

    @cached_property
    def plan(self) -> TargetPlan:
        return self.plan_with(self.body.get("approvals", ()))

    def plan_with(self, approvals: Iterable[str]) -> TargetPlan:
        estate = SimpleNamespace(checkout=SimpleNamespace(revision=REVISION))
        first = plan_observed(self.world, self.seen, estate, Consent())  # type: ignore[arg-type]
        real = [first.digest[:12] if text == "DIGEST" else text for text in approvals]
        return plan_observed(self.world, self.seen, estate, Consent(approvals=real)) if real else first  # type: ignore[arg-type]

    def said(self) -> dict[str, Any]:
        """The plan in the words of a case's `expect`, empty parts left out; or why there is none."""
        try:
            plan = self.plan
        except ManifestError as error:
            return {"invalid": [d.message for d in error.diagnostics]}
        found = {
            "changes": [_change_words(change) for change in plan.changes],
            "steps": [_step_words(step) for step in plan.steps],
            "gates": [_gate_words(gate) for gate in plan.gates],
            "findings": [f"{f.severity}: {f.message}" for f in plan.findings],
        }
        return {name: part for name, part in found.items() if part}


class FakeWorld:
    """The outside as a case describes it; the parts of `World` that planning one target needs."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.settings = Settings.model_validate(
            {"repository": {"url": "/estate"}, "ceilings": case.body.get("ceilings", {})}
        )

    async def read(self, target: TargetId, view: ClusterView, queries_of: Any) -> Reading:
        case = self._case
        if case.system is System.STOLON:
            return Reading(case.answer([]), case.ledger(), None)
        return Reading(case.answer(list(queries_of(case.capabilities))), case.ledger(), case.capabilities)

    def secrets(self, names: Iterable[str]) -> SecretsFound:
        """By name a value, or `generated: true` for one that an apply will make."""
        given = self._case.body.get("secrets", {})
        values, absent = {}, {}
        for name in names:
            if isinstance(given.get(name), str):
                values[name] = Secret(given[name])
            else:
                absent[name] = Absent(f"the settings know no secret {name!r}", generates=name in given)
        return SecretsFound(values, absent)

    def logins(self, rotations: Iterable[Rotation]) -> SecretsFound:
        """A rotation's secret is given as its record, `generated: true` where there is none yet."""
        found = SecretsFound()
        for rotation in rotations:
            given = self._case.body.get("secrets", {}).get(rotation.secret)
            if given is None:
                names = map(rotation.secret_of, rotation.roles)
                found |= SecretsFound(absent={name: Absent("the vault is sealed") for name in names})
            else:
                record = None if given.get("generated") is True else read_logins(given, "the record")
                found |= passwords(record, rotation, NOW)
        return found

    def now(self) -> datetime:
        return NOW

    def descends(self, old: str, new: str) -> bool:
        return old < new


def _member(each: Any) -> Member:
    attributes = {"uid": each} if isinstance(each, str) else dict(each)
    dn = attributes.pop("dn", f"uid={attributes.get('uid')},dc=corp")
    disabled = attributes.pop("disabled", "")
    return Member(dn, attributes, disabled=disabled)


def _ledger_entry(entry: Mapping[str, Any], wish: Any) -> LedgerEntry:
    word = entry.get("wish", "same" if wish else "before")
    since = entry.get("disabledSince")
    made = LedgerEntry(
        wish=wish.wish_fingerprint if word == "same" else word,
        made=entry.get("made", True),
        directory=entry.get("directory", ""),
        disabled_since=datetime.combine(since, datetime.min.time(), UTC) if since else None,
        drop_after_days=entry.get("dropAfter"),
        heir=entry.get("heir"),
        secret=mark_of(Secret(entry["secret"])) if "secret" in entry else "",
    )
    return replace(made, wish=LedgerEntry.HELD + made.wish) if entry.get("held") else made


def _role_row(name: str, entry: Mapping[str, Any], capabilities: Capabilities) -> tuple[Any, ...]:
    flags = ("login", "superuser", "createdb", "createrole", "inherit", "replication", "bypassrls")
    defaults = {"inherit": True}
    password = entry.get("password", "none")
    if isinstance(password, dict):
        password = verifier(password["of"])
    if not capabilities.reads_verifiers:
        password = "unknown"
    values = [entry.get(flag, defaults.get(flag, False)) for flag in flags]
    rest = (entry.get("connectionLimit", -1), entry.get("validUntil"), entry.get("comment"), password)
    return (name, *values, *rest)


def _database_row(name: str, entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        name, entry.get("owner", "postgres"), entry.get("connectionLimit", -1), entry.get("allow", True),
        entry.get("comment"), entry.get("encoding", "UTF8"), entry.get("locale", "C"), entry.get("template", False),
        entry.get("tablespace", "pg_default"), entry.get("provider", "c"), entry.get("providerLocale"),
    )  # fmt: skip


def _rows_of_database(entry: Mapping[str, Any]) -> dict[str, list[Any]]:
    public = {"public": {"owner": "pg_database_owner", "acl": ["pg_database_owner=UC/pg_database_owner", "=U/x"]}}
    schemas = {n: s or {} for n, s in {**public, **entry.get("schemas", {})}.items() if s != "gone"}
    return {
        "schema": [(n, s.get("owner", "postgres"), s.get("comment")) for n, s in schemas.items()],
        "schema_acl": [(n, s.get("owner", "postgres"), s.get("acl")) for n, s in schemas.items()],
        "extension": [
            (n, e.get("version", "1.0"), e.get("schema", "public")) for n, e in entry.get("extensions", {}).items()
        ],
        "relation_acl": [
            (
                r["schema"],
                r.get("class", "table"),
                r.get("owner", "postgres"),
                r.get("acl"),
                r["names"],
                r.get("initial"),
            )
            for r in entry.get("relations", ())
        ],
        "default_acl": [
            (d.get("class", "table"), d.get("schema", ""), d["creator"], d["acl"]) for d in entry.get("defaults", ())
        ],
        **entry.get("rows", {}),
    }


def _guc_row(name: str, given: Mapping[str, Any]) -> tuple[Any, ...]:
    vartype, unit, context, enumvals, boot, low, high = _GUCS[name]
    pending = given.get("pending", False)
    return (name, vartype, unit, context, enumvals, boot, given.get("reset", boot), "file" in given, pending, low, high)


def _change_words(change: Change) -> dict[str, Any]:
    why = [change.origin.value, change.risk.value]
    why += [f"revokes {change.revokes}"] if change.revokes else []
    why += [f"drops {change.drops}"] if change.drops else []
    why += ["restart"] if change.impact.restart else ["reload"] if change.impact.reload else []
    words: dict[str, Any] = {"change": f"{change.action} {change.address}", "why": ", ".join(why)}
    fields = {f.name: "changed" if f.sensitive else [_plain(f.before), _plain(f.after)] for f in change.fields}
    if fields:
        words["fields"] = fields
    for name in ("reason", "heir", "held"):
        if getattr(change, name):
            words[name] = getattr(change, name)
    return words


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


def _step_words(step: Step) -> str:
    place = f"[{step.database}] " if step.database else ""
    check = re.fullmatch(
        r"DO \$pgvillage\$ BEGIN.* r\.rolname = (.*?)\n.*RAISE EXCEPTION.*END \$pgvillage\$", str(step), re.DOTALL
    )
    text = f"DO: raise an exception if {check[1]} owns anything" if check else str(step)
    return f"{place}{'' if step.transactional else '! '}{text}"


def _suspension(given: Mapping[str, str] | None) -> Suspension | None:
    if given is None:
        return None
    until = datetime.fromisoformat(given["until"]).replace(tzinfo=UTC) if "until" in given else None
    return Suspension(given["by"], given["reason"], NOW - timedelta(days=1), until)


def _gate_words(gate: Gate) -> str:
    return f"{'open' if gate.open else 'shut'} {gate.rule}: {gate.message}"


def shown(case: Case) -> str:
    """All that a plan, its changes and what it was made from say of themselves."""
    plan, snapshot = case.plan, case.seen.context.snapshot
    changes = [list(change) for change in plan.changes]
    resources = [list(resource) for resource in case.seen.desired.values()]
    parts = (plan, plan.changes, changes, plan.steps, plan.findings, resources, snapshot.live, snapshot.inventory)
    return repr(parts) + "".join(map(str, (plan, *plan.changes, *plan.steps)))


def read_case(path: Path) -> Case:
    return Case(yaml.safe_load(path.read_text()))


class _Lines(list[Any]):
    """A list with a line for each of its parts."""


class _Words(yaml.SafeDumper):
    """Short lists in one line, long statements as blocks."""


_Words.add_representer(_Lines, lambda d, lines: d.represent_sequence("tag:yaml.org,2002:seq", lines, flow_style=False))


_Words.add_representer(
    str,
    lambda d, text: d.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def written(expect: Mapping[str, Any]) -> str:
    """`expect:` as it stands in a case's file."""
    parts = {name: _Lines(part) for name, part in expect.items()}
    return yaml.dump(
        {"expect": parts}, Dumper=_Words, sort_keys=False, allow_unicode=True, width=200, default_flow_style=None
    )
