"""One try of a run's steps: in the order of their needs, so many at a time, each with its own further tries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from pgvillage.core.errors import PgVillageError
from pgvillage.core.job_run import Outcome, StepRecord
from pgvillage.core.job_work import HttpWork, SqlWork, WorkResult
from pgvillage.estate.job_sql import FileFault
from pgvillage.estate.manifest.duration import duration_of
from pgvillage.estate.manifest.job_command import Check, JobStep, Retries
from pgvillage.jobs.fault import TextFault
from pgvillage.jobs.graph import Instance, combinations, cut_off, ready
from pgvillage.running.means import Means, Order
from pgvillage.running.sessions import Sessions
from pgvillage.running.telling import Telling
from pgvillage.running.values import holds, of_matrix, of_steps
from pgvillage.running.work import Work, is_transaction, limit_of, made

# A deadlock or a serialization failure is met again without anybody asking for it.
_TRANSIENT = Retries(count=2, wait="1s")
STOPPED = "stopped before its end"
NOT_SENT = -1_000  # in place of a return code: there was nobody who could have given one


@dataclass(eq=False)
class Try:
    """What one try of the steps has met. `loose` are steps begun that no ledger knows, `unsure` those of them of which
    nobody knows whether they were done.
    """

    means: Means
    order: Order
    telling: Telling
    sessions: Sessions
    records: dict[str, list[StepRecord]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    moved: str = ""
    lost_answer: str = ""

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.order.job.spec.parallel)
        self._going: dict[asyncio.Task[Outcome], str] = {}

    @property
    def failed(self) -> list[str]:
        return [name for name, outcome in self.outcomes.items() if outcome is Outcome.FAILED]

    async def steps(self) -> None:
        """Runs them all, or what can still be run after a failure; all of it is ended when this is cancelled."""
        steps = {step.name: step for step in self.order.job.spec.steps}
        needs = {name: step.needs for name, step in steps.items()}
        try:
            while True:
                for name in cut_off(needs, self.outcomes):
                    self.outcomes[name] = Outcome.CUT_OFF
                    self._note(StepRecord(name, 0, Outcome.CUT_OFF, error="something that it needs has failed"))
                if not self.moved:
                    for name in ready(needs, self.outcomes, frozenset(self._going.values())):
                        self._going[asyncio.create_task(self._step(steps[name]))] = name
                if not self._going:
                    return
                await self._one_more()
        finally:
            await self._end_all()

    async def _one_more(self) -> None:
        done, _ = await asyncio.wait(self._going, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            name = self._going.pop(task)
            self.outcomes[name] = Outcome.FAILED if task.cancelled() else task.result()
        if self.moved:
            await self._end_all()

    async def _end_all(self) -> None:
        for task in self._going:
            task.cancel()
        ended = list(self._going.items())
        self._going.clear()
        await asyncio.gather(*(task for task, _ in ended), return_exceptions=True)
        for task, name in ended:
            fine = not task.cancelled() and task.exception() is None
            self.outcomes[name] = task.result() if fine else Outcome.FAILED

    async def _step(self, step: JobStep) -> Outcome:
        tasks = [asyncio.create_task(self._instance(step, each)) for each in combinations(step.matrix)]
        try:
            found = set(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if Outcome.FAILED in found:
            return Outcome.FAILED
        return Outcome.SKIPPED if found == {Outcome.SKIPPED} else Outcome.DONE

    async def _instance(self, step: JobStep, instance: Instance) -> Outcome:
        async with self._slots:
            if any(each.outcome is Outcome.FAILED for each in self.records.get(step.name, ())):
                record = StepRecord(step.name, instance.number, Outcome.CUT_OFF, values=instance.values)
                self._note(replace(record, error="another one of this matrix has failed"))
                return Outcome.CUT_OFF
            skipped = self._skipped(step, instance)
            if skipped is not None:
                self._note(skipped)
                return skipped.outcome
            return await self._tries(step, instance)

    def _skipped(self, step: JobStep, instance: Instance) -> StepRecord | None:
        """None where it is to run."""
        if step.when is None:
            return None
        names = [each.name for each in self.order.job.spec.steps]
        try:
            if holds(step.when, {**of_steps(self.records, names), **of_matrix(instance)}):
                return None
        except TextFault as fault:
            error = f"when: {fault.message}"
            return StepRecord(step.name, instance.number, Outcome.FAILED, values=instance.values, error=error)
        return StepRecord(step.name, instance.number, Outcome.SKIPPED, values=instance.values)

    async def _tries(self, step: JobStep, instance: Instance) -> Outcome:
        retries, number = step.retries or _TRANSIENT, 1
        before = max(0, self.telling.record.attempt - 1) * (retries.count + 1)
        while True:
            record, result = await self.one(step, instance, before + number)
            again = result.transient or (step.retries is not None and not self._must_not_repeat(step, result))
            if not result.error or result.moved or not again or number > retries.count:
                self._note(record)
                return record.outcome
            self.telling.step(record)
            await asyncio.sleep(wait_of(retries, number))
            number += 1

    def _must_not_repeat(self, step: JobStep, result: WorkResult) -> bool:
        once = self.order.job.spec.delivery == "at-most-once"
        return result.uncertain and once and not is_transaction(step)

    async def one(self, command: JobStep | Check, instance: Instance, attempt: int) -> tuple[StepRecord, WorkResult]:
        """One try, which its record tells of, secrets taken out; noted by the caller."""
        begun = self.means.now()
        check = isinstance(command, Check)
        loose = not check and not is_transaction(command)
        try:
            sent = await made(self.means, self.order, self.telling.record.token, command, instance)
            self.telling.hide(sent.secrets)
            if loose and command.name not in self.loose:
                self.loose.append(command.name)
            result = await self._limited(sent.work, command, instance)
        except (PgVillageError, FileFault) as error:
            result = WorkResult(rc=NOT_SENT, error=str(error))
        except TextFault as fault:
            result = WorkResult(rc=NOT_SENT, error=fault.message)
        except asyncio.CancelledError:
            if loose:
                self.unsure.append(command.name)
            if not check:
                record = StepRecord(command.name, instance.number, Outcome.FAILED, begun, self.means.now(), attempt)
                self._note(replace(record, values=instance.values, error=STOPPED))
            raise
        self._learn(command, result, loose=loose)
        return self._recorded(
            command, instance, result, StepRecord("", 0, Outcome.DONE, begun, attempt=attempt)
        ), result

    def _learn(self, command: JobStep | Check, result: WorkResult, *, loose: bool) -> None:
        if result.moved:
            self.moved = self.moved or result.error
        if result.uncertain and loose:
            self.unsure.append(command.name)
        elif result.uncertain or result.transient:
            self.lost_answer = result.error

    def _recorded(
        self, command: JobStep | Check, instance: Instance, result: WorkResult, record: StepRecord
    ) -> StepRecord:
        return self.telling.clean(
            replace(
                record,
                step=command.name,
                number=instance.number,
                outcome=Outcome.FAILED if result.error else Outcome.DONE,
                ended=self.means.now(),
                values=instance.values,
                rc=result.rc if result.rc != NOT_SENT else None,
                rows=result.rows,
                value=result.value,
                output=result.output,
                truncated=result.truncated,
                error=result.error,
                already=result.already,
                check=isinstance(command, Check),
            )
        )

    async def _limited(self, work: Work, command: JobStep | Check, instance: Instance) -> WorkResult:
        """Programs and calls have their limit in what is sent: who runs them ends what they have begun."""
        limit = limit_of(command) if isinstance(work, SqlWork) else None
        try:
            async with asyncio.timeout(limit):
                return await self._send(work, command, instance)
        except TimeoutError:
            error = f"it took longer than its limit of {command.max_runtime}, and was cancelled"
            return WorkResult(rc=1, error=error, uncertain=not is_transaction(command))

    async def _send(self, work: Work, command: JobStep | Check, instance: Instance) -> WorkResult:
        name, number = command.name, instance.number

        def sink(text: str) -> None:
            self.telling.output(name, number, text)

        if isinstance(work, SqlWork):
            return await self.sessions.run(work, sink)
        if isinstance(work, HttpWork):
            return await self.means.ways.http(work, sink)
        return await self.means.ways.shell(work, sink)

    def _note(self, record: StepRecord) -> None:
        self.records.setdefault(record.step, []).append(record)
        self.telling.step(record)


def wait_of(retries: Retries, number: int) -> float:
    """Seconds after the `number`th try, from 1."""
    most = duration_of(retries.most).total_seconds()
    # A float's power overflows long before a wait of `most` would be passed.
    grown = retries.factor ** min(number - 1, 60)
    return min(duration_of(retries.wait).total_seconds() * grown, most)
