"""Asking clusters who can do something: one look at each that has the database, declared or not."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import replace

from pgvillage.access.directory import feeds_of
from pgvillage.access.live_object import NotThere, found_object, hint_of, neighbour_queries, object_queries
from pgvillage.access.question import Question, check_fits, parse_question
from pgvillage.access.who_can import Answer, Answers, answer
from pgvillage.core.errors import PgVillageError, UsageError
from pgvillage.core.live import Capabilities, Live, Query
from pgvillage.core.plan import System, TargetId
from pgvillage.estate.manifest.database import DatabaseFields
from pgvillage.estate.view import ClusterView, DeclaredDatabase
from pgvillage.usecases.estate import LoadedEstate, Scope, load_estate
from pgvillage.usecases.reach import each_reached
from pgvillage.usecases.world import World


async def who_can(world: World, scope: Scope, privilege: str, name: str) -> Answers:
    """Raises UsageError when no cluster has the object, with the nearest names, ReadError when none could be read."""
    question = parse_question(privilege, name)
    estate = await load_estate(world, scope)
    targets = [target for target in estate.targets if target.system is System.POSTGRES]
    if not targets:
        raise UsageError("no cluster with a `connection` in the scope")

    def ask(target: TargetId) -> Awaitable[Answer]:
        return _ask(world, target, estate.views[target.cluster], question)

    found = await each_reached(world, targets, ask)
    return _gathered(question, estate, dict(zip((t.cluster for t in targets), found, strict=True)))


def _gathered(question: Question, estate: LoadedEstate, found: dict[str, Answer | PgVillageError]) -> Answers:
    answers = tuple(each for each in found.values() if isinstance(each, Answer))
    without = {name: each for name, each in found.items() if isinstance(each, NotThere)}
    wrong = next((e for e in found.values() if isinstance(e, UsageError) and not isinstance(e, NotThere)), None)
    failed = {n: e for n, e in found.items() if isinstance(e, PgVillageError) and not isinstance(e, UsageError)}
    if not answers:
        if (error := wrong or _only(failed) or (None if failed else _closest(without.values()))) is not None:
            raise error
        texts = "\n".join(map(str, failed.values()))
        raise PgVillageError(f"no cluster could be read:\n{texts}")
    findings = [f.message for name in found for f in estate.views[name].people.findings if f.severity == "error"]
    # A cluster without such a database has nothing to do with the question.
    lacking = [(name, str(error)) for name, error in without.items() if error.what != "database"]
    return Answers(
        question,
        estate.checkout.revision,
        answers,
        tuple((name, str(error)) for name, error in failed.items()),
        tuple(lacking),
        tuple(dict.fromkeys(findings)),
    )


def _only(failed: dict[str, PgVillageError]) -> PgVillageError | None:
    return next(iter(failed.values())) if len(failed) == 1 else None


_DEPTH = ("database", "schema", "named", "object", "function", "signature", "column")


def _closest(errors: Iterable[NotThere]) -> NotThere:
    """Of the cluster where most of the name was there."""
    return max(errors, key=lambda error: _DEPTH.index(error.what))


async def _ask(world: World, target: TargetId, view: ClusterView, question: Question) -> Answer:
    looked_at = _only_database(view, question.database if question.inside else "")

    def queries_of(capabilities: Capabilities) -> Iterable[Query]:
        return list(object_queries(question, capabilities))

    reading = await world.read(target, looked_at, queries_of)
    assert reading.capabilities is not None
    try:
        found = found_object(question, reading.live, reading.capabilities.major)
    except NotThere as error:
        if error.what not in ("object", "function"):
            raise
        raise NotThere(error.what, f"{error}; {await _hint(world, target, looked_at, question)}") from None
    check_fits(question.privilege, "column" if question.column else found.listed.object_class, question.label)
    return answer(question, found, feeds_of(view), target.cluster, world.now())


def _only_database(view: ClusterView, name: str) -> ClusterView:
    """The view with one database, declared or not; nothing but what is read hangs on it."""
    named = DeclaredDatabase(name, DatabaseFields(), view.located, ("spec",))
    return replace(view, databases=(named,) if name else ())


async def _hint(world: World, target: TargetId, view: ClusterView, question: Question) -> str:
    reading = await world.read(target, view, lambda _: list(neighbour_queries(question)))
    live: Live = reading.live
    return hint_of(question, live)
