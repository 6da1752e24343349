"""pgvillage demo."""

from __future__ import annotations


def command() -> int:
    """(coming in this change)"""
    return 0
