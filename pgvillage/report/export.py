"""Rows of history as JSON lines, JSON or CSV, one after the other."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TextIO

# What spreadsheets would take for a formula: names in it are other people's.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_rows(file: TextIO, rows: Iterable[tuple[str, Mapping[str, Any]]], form: str) -> None:
    """`rows` are (table, row); `form` is jsonl, json or csv."""
    if form == "csv":
        _write_csv(file, rows)
        return
    before, between, after = ("[\n", ",\n", "\n]\n") if form == "json" else ("", "", "")
    file.write(before)
    for number, (table, row) in enumerate(rows):
        text = json.dumps({"table": table, **row}, ensure_ascii=False, default=_plain)
        file.write((between if number else "") + text + ("" if form == "json" else "\n"))
    file.write(after)


def _write_csv(file: TextIO, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    for number, (_, row) in enumerate(rows):
        if not number:
            writer.writerow(row)
        writer.writerow(_cell(value) for value in row.values())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime):
        return value.isoformat()
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)
