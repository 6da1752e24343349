"""Debian's Prometheus as an ordinary process: scrapes one address every half second, with our rules loaded."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import accepts, free_port, stop, wait_until


@dataclass(frozen=True)
class Prometheus:
    port: int

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer; AssertionError with Prometheus's own words for what it refuses."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[dict[str, Any]]:
        found = self.get("query", query=expression)["result"]
        assert isinstance(found, list)
        return found


@contextmanager
def prometheus(folder: Path, scraped: str, rules: Path) -> Iterator[Prometheus]:
    folder.mkdir(parents=True)
    scrape = {"job_name": "pgvillage", "static_configs": [{"targets": [scraped]}]}
    limits = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({"global": limits, "rule_files": [str(rules)], "scrape_configs": [scrape]}))
    port = free_port()
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]  # fmt: skip
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
    try:
        wait_until(lambda: accepts(port), "Prometheus", log)
        yield Prometheus(port)
    finally:
        stop(process)
