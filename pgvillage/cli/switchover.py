"""pgvillage switchover and failover: another node of a cluster takes over."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    EXIT_PARTIAL,
    NoColorOption,
    SettingsOption,
    TextOrJson,
    TextOrJsonOption,
    TimeoutOption,
    console_of,
    world_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from pgvillage.topology.handover import Handover
    from pgvillage.topology.readiness import Verb
    from pgvillage.usecases.switchover import Asked, Prepared
    from pgvillage.wiring import RealWorld

ClusterArgument = Annotated[str, typer.Argument(metavar="CLUSTER", help="As its manifest names it.")]
ToOption = Annotated[str | None, typer.Option("--to", help="The node that takes over; the best one when unset.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; for scripts.")]
AcceptOption = Annotated[
    str | None,
    typer.Option("--accept-data-loss", metavar="DIGEST", help="Consent to the state that a refusal printed."),
]
OutsideOption = Annotated[
    bool, typer.Option("--outside-window", help="With --yes: also while no window of the policy is open.")
]
WaitOption = Annotated[
    float, typer.Option("--wait", min=5, help="Seconds for the new primary, and again for its standbys.")
]


def switchover(
    cluster: ClusterArgument,
    to: ToOption = None,
    yes: YesOption = False,
    outside_window: OutsideOption = False,
    accept_data_loss: AcceptOption = None,
    wait: WaitOption = 120,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """Let another node take over from a primary that is well; nothing is lost."""
    from pgvillage.topology.readiness import Verb

    world = world_of(settings, timeout)
    asked = _asked(cluster, Verb.SWITCHOVER, to, accept_data_loss, wait)
    return _Command(world, asked, settings, output, console_of(no_color=no_color)).run(
        yes=yes, outside_window=outside_window
    )


def failover(
    cluster: ClusterArgument,
    to: ToOption = None,
    accept_data_loss: AcceptOption = None,
    wait: WaitOption = 120,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """Let a standby take over from a primary that is gone, or that does not hand over; what it lacks is lost."""
    from pgvillage.topology.readiness import Verb

    world = world_of(settings, timeout)
    asked = _asked(cluster, Verb.FAILOVER, to, accept_data_loss, wait)
    return _Command(world, asked, settings, output, console_of(no_color=no_color)).run(yes=True, outside_window=True)


def _asked(cluster: str, verb: Verb, to: str | None, accept: str | None, wait: float) -> Asked:
    from pgvillage.cli.asking import somebody
    from pgvillage.usecases.switchover import Asked

    return Asked(cluster, verb, somebody(), to or "", accept or "", wait)


class _Command:
    """One run, in text or JSON."""

    def __init__(self, world: RealWorld, asked: Asked, settings: Path, output: TextOrJson, console: Console) -> None:
        self._world, self._asked, self._settings = world, asked, settings
        self._text, self._console = output is TextOrJson.TEXT, console

    def run(self, *, yes: bool, outside_window: bool) -> int:
        import asyncio

        from pgvillage.core.errors import PgVillageError
        from pgvillage.usecases.switchover import check, hand_over, prepare

        prepared = asyncio.run(prepare(self._world, self._asked))
        self._before(prepared)
        try:
            check(prepared, self._asked, self._again())
            self._intend(prepared)
            self._confirm(prepared, yes=yes, outside_window=outside_window)
            self._note(prepared, "asked for")
            done = asyncio.run(hand_over(self._world, prepared, self._asked, self._tell))
        except PgVillageError as error:
            self._failed(prepared, error)
            raise
        self._after(prepared, done)
        return EXIT_PARTIAL if done.missing else 0

    def _before(self, prepared: Prepared) -> None:
        if self._text:
            from pgvillage.report.handover_text import print_nodes

            print_nodes(self._console, prepared.topology, "now")

    def _intend(self, prepared: Prepared) -> None:
        if self._text:
            from pgvillage.report.handover_text import print_intention

            print_intention(self._console, prepared.readiness, prepared.notes)

    def _confirm(self, prepared: Prepared, *, yes: bool, outside_window: bool) -> None:
        """Consent to a digest is an answer. A person at a terminal may do it outside of windows, and has been told."""
        from pgvillage.core.errors import PolicyRefusal, UsageError

        if self._asked.accept:
            return
        if yes:
            if prepared.window and not outside_window:
                raise PolicyRefusal(
                    f"{self._asked.cluster} is outside of its windows, the next one opens {prepared.window}: "
                    "--outside-window goes with --yes where it can't wait"
                )
            return
        if not sys.stdin.isatty() or not self._text:
            raise UsageError("nobody is there to be asked: --yes goes with a switchover in a script")
        typer.confirm("Go on?", abort=True)

    def _tell(self, text: str) -> None:
        if self._text:
            from pgvillage.report.words import show_text

            self._console.print(f"  … {show_text(text, 500)}", style="dim", soft_wrap=True)

    def _after(self, prepared: Prepared, done: Handover) -> None:
        words = f"{done.readiness.leader or 'nobody'} -> {done.leader}, {done.seconds:.1f} s"
        self._note(prepared, "; ".join([words, *done.missing]), done=True)
        if not self._text:
            self._document(prepared, done, "; ".join(done.missing))
            return
        from pgvillage.report.handover_text import print_handover

        print_handover(self._console, done)

    def _failed(self, prepared: Prepared, error: Exception) -> None:
        from pgvillage.core.errors import PolicyRefusal, UsageError

        if not isinstance(error, PolicyRefusal | UsageError):
            self._note(prepared, f"failed: {error}")
        if not self._text:
            self._document(prepared, None, str(error))

    def _document(self, prepared: Prepared, done: Handover | None, error: str) -> None:
        import json

        from pgvillage.report.handover_json import handover_document

        readiness = done.readiness if done else prepared.readiness
        before = done.before if done else prepared.topology
        found = handover_document(self._asked.cluster, before, readiness, done, error)
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))

    def _again(self) -> str:
        """The command that was typed, up to the digest."""
        import shlex

        words = ["pgvillage", str(self._asked.verb), self._asked.cluster]
        words += ["--to", self._asked.to] if self._asked.to else []
        words += ["--settings", str(self._settings)] if self._settings != DEFAULT_SETTINGS else []
        return f"{shlex.join(words)} --accept-data-loss"

    def _note(self, prepared: Prepared, words: str, *, done: bool = False) -> None:
        """History, where there is any: who asked for what. It never stands in the way of the thing itself."""
        from pgvillage.cli.asking import say, state_of
        from pgvillage.core.errors import PgVillageError
        from pgvillage.core.history import AuditEntry, Event, Request

        asked, target, now = self._asked, str(prepared.target), self._world.now()
        try:
            with state_of(self._world) as state:
                if state is None:
                    return
                state.decisions.note(AuditEntry(now, asked.by, str(asked.verb), target, words[:500]))
                text = f"{asked.by}: {asked.verb} of {asked.cluster}, {words}"
                state.events.add(Event(now, target, str(asked.verb).capitalize(), text[:1000]))
                if done:
                    for name in dict.fromkeys((target, asked.cluster)):
                        state.decisions.ask(Request(name, "reconcile", asked.by, now))
        except PgVillageError as error:
            say(f"pgvillage: not noted in the history: {error}")
