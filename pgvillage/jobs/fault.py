"""What is wrong with a text that a job holds: where in it, and what to write instead."""

from __future__ import annotations

_WIDTH = 100


class TextFault(Exception):
    """`at` counts characters of the text from 0."""

    def __init__(self, message: str, at: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.hint = hint

    def caret(self, text: str) -> str:
        """The line of the text that the fault is in, and under it a caret. Two lines, printable, about 100 columns."""
        start = text.rfind("\n", 0, self.at) + 1
        end = text.find("\n", self.at)
        line = text[start : len(text) if end < 0 else end]
        before = printable(line[: self.at - start])
        cut = max(0, len(before) - _WIDTH * 2 // 3)
        return f"{printable(line)[cut : cut + _WIDTH]}\n{' ' * (len(before) - cut)}^"


def printable(text: str) -> str:
    """The text with everything escaped that a terminal or a log would act on."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
