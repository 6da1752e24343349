"""Output of a step as it comes: bounded, printable, and with secrets taken out, wherever chunks are cut."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

from pgvillage.core.job_work import Sink
from pgvillage.core.secret import Secret

HIDDEN = "(secret)"
_LINE = 16_384  # characters that are waited for until a line ends


class Output:
    """Feed it bytes; `text` is what was kept. The sink gets whole lines, as long as something is kept."""

    def __init__(self, keep: int, secrets: Iterable[str | Secret], sink: Sink) -> None:
        self._keep, self._sink = keep, sink
        found = {each.reveal() for each in secrets if isinstance(each, Secret)}
        parts = {part for each in found for part in (each, *each.splitlines()) if part}
        self._secrets = sorted(parts, key=len, reverse=True)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""
        self._kept: list[str] = []
        self._size = 0
        self.truncated = False

    def feed(self, data: bytes) -> None:
        if self.truncated:
            return
        self._open += self._decode.decode(data)
        end = self._open.rfind("\n") + 1
        if not end and len(self._open) > _LINE:
            # Whole secrets go first: then only what may be the beginning of one has to wait for its end.
            self._open = self._hidden(self._open)
            end = len(self._open) - max((len(each) - 1 for each in self._secrets), default=0)
        if end > 0:
            self._take(self._open[:end])
            self._open = self._open[end:]

    def end(self) -> str:
        """Nothing more comes; all that was kept."""
        if not self.truncated:
            self._take(self._open + self._decode.decode(b"", final=True))
        self._open = ""
        return "".join(self._kept)

    def clean(self, text: str) -> str:
        """Without secrets, and without what a terminal would act on."""
        return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in self._hidden(text))

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def _take(self, text: str) -> None:
        if not text:
            return
        clean = self.clean(text)
        room = self._keep - self._size
        if len(clean.encode()) > room:
            clean = clean.encode()[:room].decode("utf-8", "ignore")
            self.truncated = True
        self._size += len(clean.encode())
        if clean:
            self._kept.append(clean)
            self._sink(clean)
