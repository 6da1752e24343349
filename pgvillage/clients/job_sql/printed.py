"""What a step prints: the first bytes of it, secrets taken out; all rows counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pgvillage.core.job_work import Sink
from pgvillage.core.secret import Secret

_HIDDEN = "(secret)"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_PIECE = 4096  # characters


class Printed:
    """Tables are lines of cells with tabs between, under a line of names; control signs are as in COPY."""

    def __init__(self, keep: int, values: Iterable[object], sink: Sink) -> None:
        found = {value.reveal() for value in values if isinstance(value, Secret)}
        self._secrets = sorted((text for text in found if text), key=len, reverse=True)
        self._left, self._sink = keep, sink
        self._kept: list[str] = []
        self._waiting: list[str] = []
        self._size = 0
        self.truncated = False
        self.rows: int | None = None
        self.value: str | None = None

    @property
    def text(self) -> str:
        self.flush()
        return "".join(self._kept)

    def hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text

    def table(self, names: Sequence[str]) -> None:
        """The head of a result; its rows follow."""
        self.rows, self.value = 0, None
        self.line("\t".join(name.translate(_ESCAPES) for name in names))

    def row(self, cells: Iterable[str | None]) -> None:
        self.line("\t".join("" if cell is None else self.hide(cell).translate(_ESCAPES) for cell in cells))

    def line(self, text: str) -> None:
        """A line, as much of it as there is room for."""
        if self.truncated:
            return
        piece = self.hide(text) + "\n"
        data = piece.encode("utf-8", "replace")
        if len(data) > self._left:
            self.truncated = True
            data = data[: self._left]
        piece = data.decode("utf-8", "ignore")
        self._left -= len(data)
        self._waiting.append(piece)
        self._size += len(piece)
        if self._size >= _PIECE:
            self.flush()

    def flush(self) -> None:
        piece = "".join(self._waiting)
        self._waiting, self._size = [], 0
        if piece:
            self._kept.append(piece)
            self._sink(piece)
