"""`pgvillage routing` as a process, and what clients ask of it."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.integration.estate_builder import EstateBuilder
from tests.servers import free_port, stop, wait_until


class RoutingProcess:
    def __init__(self, process: subprocess.Popen[str], port: int, context: ssl.SSLContext | None = None) -> None:
        self.process, self.port, self._context = process, port, context
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and body; 0 while nobody listens."""
        made = (
            http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self._context)
            if self._context
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        )
        try:
            made.request(method, path, headers=headers or {})
            found = made.getresponse()
            return found.status, found.read().decode()
        except ConnectionError:
            return 0, ""
        finally:
            made.close()

    def document(self, path: str) -> Any:
        return json.loads(self.ask(path)[1])

    def primary(self) -> str | None:
        status, text = self.ask("/v1/primary")
        return str(json.loads(text)) if status == 200 else None

    def wait(self, path: str, status: int, seconds: float = 60) -> str:
        found = [(0, "")]

        def there() -> bool:
            assert self.process.poll() is None, "".join(self.lines)
            found[0] = self.ask(path)
            return found[0][0] == status

        try:
            wait_until(there, f"{status} for {path}", seconds=seconds)
        except RuntimeError as error:
            raise AssertionError(f"{error}: {found[0]}\n{''.join(self.lines)}") from None
        return found[0][1]

    def wait_for_primary(self, name: str, seconds: float = 60) -> None:
        try:
            wait_until(lambda: self.primary() == name, f"primary {name}", seconds=seconds)
        except RuntimeError as error:
            raise AssertionError(f"{error}\n{self.ask('/v1/groups')}\n{''.join(self.lines)}") from None

    def metric(self, line: str) -> float:
        """The sample whose name and labels are written so."""
        found = [each for each in self.ask("/metrics")[1].splitlines() if each.startswith(f"{line} ")]
        return float(found[0].rpartition(" ")[2])

    def close(self, how: int | None = None) -> None:
        if how is not None:
            self.process.send_signal(how)
            self.process.wait(10)
        stop(self.process)  # type: ignore[arg-type]
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            with suppress(AttributeError):
                stream.close()  # type: ignore[union-attr]


@contextmanager
def routing(
    estate: EstateBuilder, *arguments: str, context: ssl.SSLContext | None = None, **settings: Any
) -> Iterator[RoutingProcess]:
    """With short intervals; the port is that of the settings before, so that who asks it finds it again."""
    known = estate.settings.get("routing", {})
    listen = known.get("listen", f"127.0.0.1:{free_port()}")
    limits = {"connect": 1, "query": 1}
    estate.settings["routing"] = {"listen": listen, "interval": 0.2, "timeouts": limits, **settings}
    estate.settings_file.write_text(json.dumps(estate.settings))
    found = RoutingProcess(estate.start("routing", *arguments), int(listen.rpartition(":")[2]), context)
    try:
        yield found
    finally:
        found.close()
