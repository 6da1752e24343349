"""What expressions and checks see of steps: return codes, rows, values, output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from pgvillage.core.job_run import Outcome, Scalar, StepRecord
from pgvillage.jobs.expression import (
    Comparison,
    Constant,
    Joined,
    Kind,
    Listed,
    Name,
    Reference,
    Term,
    Value,
    evaluate,
    kind_of,
    parse_expression,
)
from pgvillage.jobs.graph import Instance

Values = Mapping[Name, Value]
_FLAGS = {"t": True, "true": True, "f": False, "false": False}


def holds(text: str, values: Values) -> bool:
    """Raises TextFault where values of different kinds are compared."""
    return evaluate(_typed(parse_expression(text), values), values)


def of_steps(records: Mapping[str, Sequence[StepRecord]], names: Iterable[str]) -> dict[Name, Value]:
    """Of each step its instances together: the greatest rc, the sum of rows, the outputs one after the other.

    What a step that was skipped or cut off would have left is null.
    """
    found: dict[Name, Value] = {}
    for name in names:
        own = [record for record in records.get(name, ()) if record.outcome in (Outcome.DONE, Outcome.FAILED)]
        found |= {("steps", name, key): value for key, value in _together(own).items()}
        found["steps", name, "skipped"] = not own
    return found


def of_matrix(instance: Instance) -> dict[Name, Value]:
    return {("matrix", name): _plain(value) for name, value in instance.values}


def of_itself(record: StepRecord) -> dict[Name, Value]:
    """The names of a check's own command."""
    return {(key,): value for key, value in _together([record]).items()}


def fits(value: str | None, wanted: Scalar) -> bool:
    """Whether a first column's text is this value; numbers as numbers, 1.0 is 1."""
    if value is None:
        return False
    return _as_kind(value, kind_of(wanted)) == _plain(wanted)


def _together(records: Sequence[StepRecord]) -> dict[str, Value]:
    codes = [record.rc for record in records if record.rc is not None]
    rows = [record.rows for record in records if record.rows is not None]
    return {
        "rc": max(codes, default=None),
        "rows": sum(rows) if rows else None,
        "value": records[0].value if len(records) == 1 else None,
        "output": "".join(record.output for record in records) if records else None,
    }


def _plain(value: Scalar) -> Value:
    return Decimal(str(value)) if isinstance(value, float) else value


def _typed(term: Term, values: Values) -> Term:
    """PostgreSQL's value is text: it is read as what it is compared with."""
    match term:
        case Joined():
            return Joined(term.word, tuple(_typed(part, values) for part in term.parts), term.at)
        case Reference() if term.name[-1] == "value":
            return _read(term, Kind.FLAG, values)
        case Comparison() if term.sign not in ("matches", "contains"):
            left, right = term.left, term.right
            if isinstance(right, Listed):
                other = kind_of(right.values[0].value) if right.values else Kind.TEXT
                return Comparison(term.sign, _read(left, other, values), right, term.at)
            return Comparison(
                term.sign,
                _read(left, _kind(right, values), values),
                _read(right, _kind(left, values), values),
                term.at,
            )
    return term


def _kind(side: Constant | Reference, values: Values) -> Kind:
    if isinstance(side, Constant):
        return kind_of(side.value)
    return Kind.NUMBER if side.name[-1] == "value" and _is_number(values[side.name]) else kind_of(values[side.name])


def _is_number(value: Value) -> bool:
    return isinstance(value, str) and isinstance(_as_kind(value, Kind.NUMBER), Decimal)


def _read(side: Constant | Reference, kind: Kind, values: Values) -> Constant | Reference:
    if isinstance(side, Constant) or side.name[-1] != "value":
        return side
    text = values[side.name]
    return Constant(_as_kind(text, kind), side.at) if isinstance(text, str) else side


def _as_kind(text: str, kind: Kind) -> Value:
    if kind is Kind.FLAG:
        return _FLAGS.get(text.lower(), text)
    if kind is not Kind.NUMBER:
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return number if number.is_finite() else text
