"""Values of settings: units, booleans and lists, so that 1GB, 1024MB and 131072 pages are the same."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache

from pgvillage.core.guc import Guc
from pgvillage.resources.postgres.sql import literal

# Settings whose value is a list of quoted names (GUC_LIST_QUOTE): one literal for all of them would be one odd name.
LIST_QUOTED = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
# Parameters that pg_settings does not show (GUC_NO_SHOW_ALL), and that a role can be given all the same.
_NOT_SHOWN = frozenset({"role", "session_authorization"})
_BYTES = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_MICROSECONDS = {"us": 1, "ms": 1000, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6}
_NUMBER = re.compile(r"\s*([+-]?(?:0[xX][0-9a-fA-F]+|[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?))\s*([A-Za-z]*)\s*\Z")
_UNIT = re.compile(r"([0-9]*)([A-Za-z]+)\Z")
_LISTED = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"]*))\s*(?:,|\Z)')
_LIST = re.compile(r'\s*(?:"(?:[^"]|"")*"|[^,"]*)\s*(?:,\s*(?:"(?:[^"]|"")*"|[^,"]*)\s*)*\Z')
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def canonical_value(guc: Guc | None, value: str) -> str:
    """A text that is equal for equal values; a value that can't be read is kept as it is, for PostgreSQL to judge."""
    return value if guc is None else _canonical(guc.name, guc.vartype, guc.unit, value)


@lru_cache(maxsize=16384)  # the clusters of an estate are much alike
def _canonical(name: str, vartype: str, unit: str | None, value: str) -> str:
    if vartype == "bool":
        return _boolean(value)
    if vartype in ("integer", "real"):
        return _number(vartype, unit, value)
    if vartype == "enum":
        return _boolean(value) if value.lower() in (*_TRUE, *_FALSE) else value.lower()
    if name.lower() in LIST_QUOTED:
        return ", ".join(map(_listed, split_list(value)))
    return value


def _listed(name: str) -> str:
    """A name of a list, quoted where it would otherwise be read as something else."""
    if name and not re.search(r'[\s,"]', name):
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _boolean(value: str) -> str:
    lower = value.strip().lower()
    if lower and any(word.startswith(lower) for word in _TRUE) and lower != "o":
        return "on"
    if lower and any(word.startswith(lower) for word in _FALSE) and lower != "o":
        return "off"
    return value


def _number(vartype: str, unit: str | None, value: str) -> str:
    """The number in its largest whole unit, which is how people write it."""
    amount = _amount(unit, value)
    if amount is None:
        return value
    if vartype == "real":
        return repr(amount)
    whole = round(amount)
    for name, factor in _larger_units(unit):
        if whole > 0 and whole % factor == 0 and factor >= 1:
            return f"{int(whole // factor)}{name}"
    return str(whole)


def _amount(unit: str | None, value: str) -> float | None:
    """The value in base units; None when it is no number with a unit that fits."""
    match = _NUMBER.match(value)
    if not match:
        return None
    try:
        number = float(int(match[1], 16)) if "x" in match[1].lower() else float(match[1])
    except OverflowError:
        return None
    factor = _factor(match[2], unit) if match[2] else 1
    amount = math.inf if factor is None else number * factor
    return amount if math.isfinite(amount) else None


@lru_cache(maxsize=64)
def _larger_units(base: str | None) -> list[tuple[str, float]]:
    """Units of the same family that are whole multiples of the base, the largest first."""
    factors = [(name, _factor(name, base)) for name in (*reversed(_BYTES), *reversed(_MICROSECONDS))]
    return [(name, f) for name, f in factors if f is not None and f >= 1 and f == int(f)]


def _factor(unit: str, base: str | None) -> float | None:
    """How many base units one `unit` is; the base may be a multiple itself, as in 8kB."""
    match = _UNIT.match(base or "")
    if not match:
        return None
    size = int(match[1] or 1)
    for family in (_BYTES, _MICROSECONDS):
        if match[2] in family and unit in family:
            return family[unit] / (family[match[2]] * size)
    return None


def problem(guc: Guc | None, name: str, value: str) -> str:
    """Why PostgreSQL would refuse this value, or nothing; unknown names with a dot are extensions' own."""
    if guc is None:
        return "" if "." in name or name.lower() in _NOT_SHOWN else f"this server knows no parameter {name!r}"
    text = canonical_value(guc, value)
    if guc.vartype == "bool" and text not in ("on", "off"):
        return f"{name}: expected on or off, found {value!r}"
    if guc.vartype in ("integer", "real"):
        return _number_problem(guc, name, value)
    if guc.vartype == "enum" and text not in {v.lower() for v in guc.enumvals}:
        return f"{name}: expected one of {', '.join(guc.enumvals)}, found {value!r}"
    return ""


def _number_problem(guc: Guc, name: str, value: str) -> str:
    amount = _amount(guc.unit, value)
    unit = f" {guc.unit}" if guc.unit else ""
    if amount is None:
        return f"{name}: expected a number{' with a unit that fits' if unit else ''}{unit}, found {value!r}"
    if guc.minimum and guc.maximum and not float(guc.minimum) <= amount <= float(guc.maximum):
        return f"{name}: expected {guc.minimum} to {guc.maximum}{unit}, found {value!r}"
    return ""


def split_list(value: str) -> list[str]:
    """`"$user", public` as its names; a text that is no such list is one odd name."""
    names: list[str] = []
    if not _LIST.match(value):
        return [value]
    for match in _LISTED.finditer(value):
        name = match[1].replace('""', '"') if match[1] is not None else match[2].strip()
        if name or match[1] is not None:
            names.append(name)
    return names


def value_sql(name: str, value: str) -> str:
    """What follows `SET name =`."""
    if name.lower() in LIST_QUOTED:
        return ", ".join(map(literal, split_list(value))) or "''"
    return literal(value)


def parse_config(items: Iterable[str] | None) -> dict[str, str]:
    """pg_db_role_setting.setconfig as a mapping."""
    return dict(text.split("=", 1) for text in items or ())
