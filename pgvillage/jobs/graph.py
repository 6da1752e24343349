"""The order of a run's steps: what is ready, what a failure skips, which combinations a matrix has."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from pgvillage.core.job_run import Outcome, Scalar
from pgvillage.jobs.fault import TextFault

Needs = Mapping[str, Sequence[str]]
LARGEST_MATRIX = 256


def order(needs: Needs) -> list[str]:
    """Every step after those that it needs; among free ones as they are written.

    Raises TextFault for an unknown step, and for a circle with its path.
    """
    for step, names in needs.items():
        if unknown := next((name for name in names if name not in needs), None):
            raise TextFault(f"step {step} needs an unknown step {unknown}")
    place = {step: number for number, step in enumerate(needs)}
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        raise TextFault(f"steps need each other: {' needs '.join(reversed(error.args[1]))}") from error
    found: list[str] = []
    free = list(sorter.get_ready())
    while free:
        step = min(free, key=place.__getitem__)
        free.remove(step)
        found.append(step)
        sorter.done(step)
        free.extend(sorter.get_ready())
    return found


def ready(needs: Needs, outcomes: Mapping[str, Outcome], running: frozenset[str] = frozenset()) -> list[str]:
    """Steps that can begin now, as they are written: all that they need is done, or was skipped."""
    good = (Outcome.DONE, Outcome.SKIPPED)
    return [
        step
        for step, names in needs.items()
        if step not in outcomes and step not in running and all(outcomes.get(name) in good for name in names)
    ]


def cut_off(needs: Needs, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Steps without an outcome that can never begin, because of a failure before them; in the order of `order`."""
    bad = {step for step, outcome in outcomes.items() if outcome in (Outcome.FAILED, Outcome.CUT_OFF)}
    found = []
    for step in order(needs):
        if step not in outcomes and not bad.isdisjoint(needs[step]):
            bad.add(step)
            found.append(step)
    return found


@dataclass(frozen=True, slots=True)
class Instance:
    """One run of a step with one combination of its matrix."""

    number: int
    values: tuple[tuple[str, Scalar], ...] = ()


def combinations(matrix: Mapping[str, Sequence[Scalar]]) -> list[Instance]:
    """Every combination, the last name counting fastest; one without values for an empty matrix. Raises TextFault."""
    count = math.prod(len(values) for values in matrix.values())
    if count > LARGEST_MATRIX:
        raise TextFault(f"this matrix has {count} combinations; at most {LARGEST_MATRIX} are run", 0, "split the step")
    rows = itertools.product(*matrix.values())
    return [Instance(number, tuple(zip(matrix, row, strict=True))) for number, row in enumerate(rows)]
