"""`pgvillage serve` as a process, with its log at hand."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.estate_builder import COMMAND, ROOT, EstateBuilder
from tests.servers import free_port, wait_until

Labels = dict[str, str]


class Daemon:
    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process, self.address = process, address
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every line is one JSON object."""
        found = [json.loads(line) for line in list(self.lines)]
        assert all(isinstance(entry, dict) for entry in found)
        return found

    def said(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.log if entry["event"] == event]

    def wait(self, ready: Callable[[], object], what: str, seconds: float = 60) -> None:
        def look() -> bool:
            assert self.process.poll() is None, "".join(self.lines)
            return bool(ready())

        try:
            wait_until(look, what, seconds=seconds)
        except RuntimeError as error:
            raise AssertionError(f"{error}\n{''.join(self.lines)}") from None

    def wait_for(self, event: str, count: int = 1) -> None:
        self.wait(lambda: len(self.said(event)) >= count, f"{count} times {event!r} in the log")

    def rounds(self, count: int) -> None:
        """So many more, from now on."""
        begun = self.looks()
        self.wait(lambda: self.looks() >= begun + count, f"{count} more full looks")

    def looks(self) -> float:
        """Full looks until now; none before it listens."""
        try:
            return self.metric("looks_total")
        except urllib.error.URLError:
            return 0

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Every sample of this name that has these labels, added up."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples if sample.name == f"pgvillage_{name}"]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())

    def stop(self, seconds: float = 10) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        self.close()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def start_replica(estate: EstateBuilder, name: str, **serve: Any) -> Daemon:
    """One of several daemons of an estate, with settings and state of its own; `serve` has what they differ in."""
    address = f"127.0.0.1:{free_port()}"
    own = {"listen": address, "replica": name, **serve}
    settings = {**estate.settings, "state": str(estate.folder / name), "serve": own}
    file = estate.folder / f"{name}.yaml"
    file.write_text(json.dumps(settings))
    command = [*COMMAND, "serve", "--settings", str(file)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return Daemon(process, address)


@contextmanager
def serving(estate: EstateBuilder, **serve: Any) -> Iterator[Daemon]:
    """A daemon with short intervals; it is killed at the end where the test did not stop it."""
    address = f"127.0.0.1:{free_port()}"
    estate.settings["serve"] = {"listen": address, "poll": 0.3, "observe": 0.5, **serve}
    estate.settings_file.write_text(json.dumps(estate.settings))
    daemon = Daemon(estate.start("serve"), serve.get("listen", address))
    try:
        yield daemon
    finally:
        daemon.close()
