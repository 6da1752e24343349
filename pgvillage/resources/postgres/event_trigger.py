"""Kind event-trigger: functions that run when commands change the database itself, or when somebody logs in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Risk
from pgvillage.core.plan import Finding
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Live, Parsed, Query
from pgvillage.estate.manifest.qualified_name import join_name, split_name
from pgvillage.estate.manifest.row_security import EventTriggerSpec
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.as_it_is import comment_on, filled_in, owned_by, owner_to
from pgvillage.resources.postgres.database_object import DatabaseObject
from pgvillage.resources.postgres.existing import near
from pgvillage.resources.postgres.sql import ident, literal, qualified, step

ORDER = 95
LOGIN_SINCE = 17

# The functions there are come along: one question for a database.
_SQL = """
SELECT e.evtname, o.rolname, e.evtevent, e.evttags, n.nspname, f.proname, e.evtenabled::text, d.description
FROM pg_catalog.pg_event_trigger e
JOIN pg_catalog.pg_roles o ON o.oid = e.evtowner
JOIN pg_catalog.pg_proc f ON f.oid = e.evtfoid
JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
LEFT JOIN pg_catalog.pg_description d
       ON d.objoid = e.oid AND d.classoid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass
UNION ALL
SELECT NULL, NULL, NULL, NULL, n.nspname, f.proname, NULL, NULL
FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
WHERE f.prorettype = 'pg_catalog.event_trigger'::pg_catalog.regtype
"""
_ENABLED = {"O": "origin", "R": "replica", "A": "always", "D": "disabled"}
_WORDS = {"origin": "ENABLE", "replica": "ENABLE REPLICA", "always": "ENABLE ALWAYS", "disabled": "DISABLE"}
_MADE_ANEW = frozenset({"event", "tags", "function"})


@dataclass(frozen=True, slots=True)
class EventTriggerState(State):
    owner: str | Unmanaged | None = None
    event: str = ""
    tags: frozenset[str] = frozenset()
    function: str = ""
    enabled: str = "origin"
    comment: str | Unmanaged | None = None


class EventTrigger(DatabaseObject):
    name = "event-trigger"
    listed = "event_triggers"

    def wish(self, spec: EventTriggerSpec) -> EventTriggerState:
        return _state(spec)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if self.is_declared(view):
            yield Query(self.name, _SQL, each_database=True)

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {}
        functions: dict[str, set[str]] = {}
        for database, rows in live.by_database.items():
            known = functions.setdefault(database, set())
            for name, owner, event, tags, schema, function, enabled, comment in rows.get(self.name, ()):
                whole = join_name(schema, function)
                known.add(whole)
                if name is not None:
                    states[Address(live.target, self.name, (database, name))] = EventTriggerState(
                        owner, event, frozenset(tags or ()), whole, _ENABLED[enabled], comment
                    )
        return Parsed(states, inventory=functions)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        live = context.snapshot.live
        return {a: r.with_state(filled_in(r.state, live.get(a)) if r.state else None) for a, r in desired.items()}, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        if isinstance(state, EventTriggerState):
            yield from owned_by(address, state.owner)
            yield Address(address.target, "schema", (address.name[0], split_name(state.function)[0]))

    def judge(self, change: Change, context: Context) -> Judgement:
        refused = _refused(change, context)
        if change.action is Action.DELETE:
            return Judgement(Risk.DROP, drops=1, refused=refused)
        return Judgement(Risk.ADDITIVE if change.action is Action.CREATE else Risk.CHANGE, refused=refused)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            database, bare = change.address.name
            for text in _statements(change, f"EVENT TRIGGER {ident(bare)}"):
                yield step(change.address, text, database=database)


KIND = EventTrigger()


def _state(spec: EventTriggerSpec) -> EventTriggerState:
    assert spec.event is not None
    assert spec.function is not None
    return EventTriggerState(
        owner=UNMANAGED if spec.owner is None else spec.owner,
        event=spec.event,
        tags=frozenset(spec.tags),
        function=spec.function,
        enabled=spec.enabled,
        comment=UNMANAGED if spec.comment is None else spec.comment,
    )


def _statements(change: Change, what: str) -> Iterable[str]:
    names, after = {f.name for f in change.fields}, change.after
    anew = change.action is Action.CREATE or bool(names & _MADE_ANEW)
    if change.before is not None and (anew or after is None):
        yield f"DROP {what}"
    if not isinstance(after, EventTriggerState):
        return
    if anew:
        tags = f" WHEN TAG IN ({', '.join(map(literal, sorted(after.tags)))})" if after.tags else ""
        function = qualified(*split_name(after.function))
        yield f"CREATE {what} ON {ident(after.event)}{tags} EXECUTE FUNCTION {function}()"
    if isinstance(after.owner, str) and (anew or "owner" in names):
        yield owner_to(what, after.owner)
    if ("enabled" in names and not anew) or (anew and after.enabled != "origin"):
        yield f"ALTER {what} {_WORDS[after.enabled]}"
    if ("comment" in names and not anew) or (anew and after.comment is not None):
        yield comment_on(what, after.comment)


def _refused(change: Change, context: Context) -> str:
    if context.capabilities is not None and not context.capabilities.superuser:
        return "event triggers need a superuser: give the credential of one, or make this change by hand"
    after = change.after
    if not isinstance(after, EventTriggerState):
        return ""
    major = context.capabilities.major if context.capabilities else LOGIN_SINCE
    if after.event == "login" and major < LOGIN_SINCE:
        return f"event triggers for login need PostgreSQL {LOGIN_SINCE}, the server is {major}"
    functions = context.snapshot.inventory.get("event-trigger")
    known = functions.get(change.address.name[0], set()) if isinstance(functions, dict) else set()
    if after.function not in known:
        return (
            f"function {after.function}() does not exist (yet) or does not return event_trigger: "
            f"it comes with the application{near(after.function, known, str)}"
        )
    return ""
