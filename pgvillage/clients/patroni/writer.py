"""The one writer of a Patroni cluster: its configuration, and restarts one by one with a look at all nodes between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, Self, cast

from pgvillage.clients.patroni.rest import PatroniRest
from pgvillage.core.errors import ReadError, StepFailed
from pgvillage.core.ledger import LedgerUpdate
from pgvillage.core.status import Suspension
from pgvillage.core.step import EngineStep, PatchStep, RestartStep, SettledStep, SwitchoverStep
from pgvillage.core.topology import Node, Topology

_UP = ("running", "streaming")
_MOST_LAG = 1 << 20  # Patroni's own default of maximum_lag_on_failover
_EVERY = 0.5


@dataclass(frozen=True, slots=True)
class Terms:
    """`lag`: bytes that a standby may lack while another node restarts; `loop` Patroni's loop_wait; `patience` how long
    a node may take to come back. `chosen`: Patroni picks synchronous standbys by name, so only these may take over.
    """

    lag: int = _MOST_LAG
    loop: int = 10
    patience: float = 180
    chosen: bool = False


class Configuration(Protocol):
    """Who writes the configuration and, where there is one, the ledger."""

    ledger_problem: str
    notes: list[str]

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def run(self, steps: Sequence[PatchStep], update: LedgerUpdate) -> None: ...
    async def hold(self) -> None: ...
    async def suspend(self, suspension: Suspension | None) -> None: ...


class PatroniWriter:
    """An async context. `look` asks all nodes anew, and `terms` the configuration; without `rest` there is nobody to
    ask for a restart.

    Raises StepFailed in words, before anything is done, where a node is not well, and after a time limit.
    """

    def __init__(
        self,
        name: str,
        configuration: Configuration,
        rest: PatroniRest | None,
        look: Callable[[], Awaitable[Topology]],
        terms: Callable[[], Awaitable[Terms]],
    ) -> None:
        self._name, self._configuration, self._rest, self._look = name, configuration, rest, look
        self._terms_now, self._terms = terms, Terms()
        self._stack = AsyncExitStack()
        self._handed: set[str] = set()  # who led and restarted with the configuration as it is, to follow
        self.notes = configuration.notes
        self.ledger_problem = configuration.ledger_problem

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._configuration)
            if self._rest is not None:
                await stack.enter_async_context(self._rest)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def reach(self, databases: Sequence[str]) -> None:
        """There are no databases in Patroni's configuration."""

    async def suspend(self, suspension: Suspension | None) -> None:
        await self._configuration.suspend(suspension)

    async def run(self, steps: Sequence[EngineStep], update: LedgerUpdate) -> None:
        """Patches in one write, or one thing that Patroni does; recorded once that is seen to be done."""
        patches = [step for step in steps if isinstance(step, PatchStep)]
        if len(patches) == len(steps):
            if patches:
                self._handed.clear()  # their values are of a configuration before this one
            await self._configuration.run(patches, update)
            return
        for step in steps:
            await self._configuration.hold()
            self._terms = await self._terms_now()
            await self._do(step)
        await self._configuration.run([], update)

    async def _do(self, step: EngineStep) -> None:
        if isinstance(step, RestartStep):
            await self._restart(step)
        elif isinstance(step, SwitchoverStep):
            await self._switch(step)
        elif isinstance(step, SettledStep):
            await self._until(lambda t: unsettled(t, step.values), f"every standby knows {dict(step.values)}")
        else:
            raise StepFailed(f"{self._name}: a patch does not go with {step}")

    async def _restart(self, step: RestartStep) -> None:
        """One that has nothing pending is left alone: the look at the end says whether that is well."""
        seen = await self._well(f"restarting {step.node}")
        if not await self._is_pending(seen, step.node):
            words = "is not asked for a restart: nothing is pending there by Patroni's word"
            self.notes.append(f"{step.node} {words}")
            return
        seen = await self._well(f"restarting {step.node}")
        await self._api.restart(_api_of(self._name, seen, step.node), seconds=self._terms.patience)
        await self._until(lambda t: unwell(t, self._terms.lag) or still_pending(t, step.node), f"{step.node} is back")

    async def _is_pending(self, seen: Topology, name: str) -> bool:
        """Patroni's members look at their configuration once in loop_wait."""
        end = monotonic() + (0 if name in self._handed else 2 * self._terms.loop + 5)
        while True:
            node = seen.node(name)
            if node is not None and _pending(node):
                return True
            if monotonic() >= end:
                return False
            await asyncio.sleep(_EVERY)
            seen = await self._look()

    async def _switch(self, step: SwitchoverStep) -> None:
        seen = await self._well(f"a switchover from {step.leader}")
        if seen.leader != step.leader:
            raise StepFailed(f"{self._name}: {seen.leader} leads by now, not {step.leader}: plan again")
        if self._terms.chosen and step.to is not None:
            seen = await self._until(lambda t: not_synchronous(t, str(step.to)), f"{step.to} is synchronous")
        url = _api_of(self._name, seen, step.leader)
        await self._api.switchover(url, step.leader, step.to, seconds=self._terms.patience)
        self._handed.add(step.leader)
        await self._until(
            lambda t: unwell(t, self._terms.lag) or ("" if t.leader != step.leader else f"{t.leader} leads still"),
            "the switchover is done",
        )

    @property
    def _api(self) -> PatroniRest:
        if self._rest is None:
            raise StepFailed(f"{self._name}: a restart needs Patroni's REST API: name its login as ha.api")
        return self._rest

    async def _well(self, what: str) -> Topology:
        """All members, well; they have a while to become so, as one may still be busy with what was done before."""
        return await self._until(lambda t: unwell(t, self._terms.lag), f"all nodes are well, before {what}")

    async def _until(self, why_not: Callable[[Topology], str], what: str) -> Topology:
        end = monotonic() + self._terms.patience
        while True:
            try:
                seen = await self._look()
                if seen.paused:
                    text = "Patroni is paused (its maintenance mode), so nothing restarts"
                    raise StepFailed(f"{self._name}: {text}; `patronictl resume` ends that")
                why = why_not(seen)
            except ReadError as error:
                why = str(error)
            if not why:
                return seen
            if monotonic() >= end:
                raise StepFailed(f"{self._name}: waited {self._terms.patience:g} s until {what}: {why}")
            await asyncio.sleep(_EVERY)


def unwell(seen: Topology, lag: int) -> str:
    """Why no node may be taken away now, "" when one may."""
    leader = seen.node(seen.leader)
    if seen.engine_unread or leader is None or leader.engine is None:
        return seen.engine_unread or "Patroni has no leader now"
    faults = (_fault(node, leader, lag, follows=seen.standby_cluster) for node in seen.nodes if node.engine is not None)
    return next(filter(None, faults), "")


def _fault(node: Node, leader: Node, lag: int, *, follows: bool) -> str:
    state = node.engine.state if node.engine is not None else ""
    if state not in _UP:
        return f"{node.name} is {state or 'in no known state'}"
    if node.sql is None:
        return f"{node.name} does not answer: {node.error}"
    if node.name == leader.name:
        return f"{node.name} leads, and is not promoted yet" if node.sql.recovering and not follows else ""
    behind = node.lag(leader)
    if not node.sql.streaming or not node.sql.recovering or behind is None:
        return f"{node.name} does not stream"
    return f"{node.name} lacks {behind} bytes, {lag} are allowed" if behind > lag else ""


def still_pending(seen: Topology, name: str) -> str:
    node = seen.node(name)
    if node is None:
        return f"{name} is not there"
    return f"{name} still waits for a restart" if _pending(node) else ""


def not_synchronous(seen: Topology, name: str) -> str:
    node = seen.node(name)
    good = node is not None and node.engine is not None and node.engine.synchronous
    return "" if good else f"{name} is no synchronous standby, and no other may take over"


def unsettled(seen: Topology, values: Sequence[tuple[str, str]]) -> str:
    """Which standby's pg_controldata does not show the primary's values yet."""
    for node in seen.nodes:
        if node.engine is None or node.name == seen.leader:
            continue
        if node.sql is None:
            return f"{node.name} does not answer: {node.error}"
        for name, value in values:
            if (found := node.sql.controldata.get(name)) != value:
                return f"{node.name} has {name} = {found or 'unknown'}, not {value}"
    return ""


def _pending(node: Node) -> bool:
    return node.engine is not None and node.engine.pending_restart


def _api_of(cluster: str, seen: Topology, name: str) -> str:
    node = seen.node(name)
    if node is None or node.engine is None or not node.engine.api:
        raise StepFailed(f"{cluster}: Patroni does not say where the REST API of {name} is")
    return node.engine.api


class RestConfiguration:
    """The configuration by PATCH /config of whichever member answers; there is no ledger, and nothing is locked."""

    def __init__(self, name: str, rest: PatroniRest, members: Sequence[str]) -> None:
        self._name, self._rest, self._members = name, rest, members
        self.ledger_problem = ""
        self.notes: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """The login is its user's."""

    async def run(self, steps: Sequence[PatchStep], update: LedgerUpdate) -> None:
        """Patroni itself compares and swaps: what changes meanwhile makes it refuse. There is no place for `update`."""
        del update
        for step in steps:
            await self._patch(cast("Mapping[str, Any]", _plain(step.patch)))

    async def _patch(self, patch: Mapping[str, Any]) -> None:
        faults = []
        for url in self._members:
            try:
                await self._rest.patch_config(url, patch)
            except ReadError as error:
                faults.append(str(error))
            else:
                return
        raise ReadError(self._name, f"no member answered; {'; '.join(faults)}")

    async def hold(self) -> None:
        """Nothing could be held."""

    async def suspend(self, suspension: Suspension | None) -> None:
        del suspension
        raise StepFailed(f"{self._name}: without etcd there is no place beside Patroni for a suspension")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value
