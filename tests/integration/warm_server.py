"""The command line with everything imported, waiting to be forked: Python's start takes longer than most commands.

Every command is a process of its own all the same, with the environment, folder and standard streams it is given.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# What an interpreter reads when it starts, and programs' places, which libraries look up when they are imported.
_EARLY = ("LD_", "PYTHON", "LC_", "LANG", "TZ", "PATH", "GIT_PYTHON", "SSL", "OPENSSL")
_FIRST = dict(os.environ)


def can_be_warm(environment: Mapping[str, str]) -> bool:
    """Whether nothing in it would have changed how the waiting process began."""
    names = {name for name in (*environment, *_FIRST) if name.startswith(_EARLY)}
    return all(environment.get(name) == _FIRST.get(name) for name in names)


class WarmServer:
    """The waiting process of this one; it ends when this one does."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pgvillage-warm-")
        self._place = str(Path(self._folder.name) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._place)
            listener.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import serve; serve({listener.fileno()})"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[listener.fileno()], env=_FIRST,
                cwd=Path(__file__).parents[2],
            )  # fmt: skip
        atexit.register(self.close)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, seconds: float
    ) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of one command. Raises TimeoutError, the command killed."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, socket.socket(socket.AF_UNIX) as line:
            line.settimeout(seconds)
            line.connect(self._place)
            order = {"arguments": list(arguments), "environment": dict(environment), "folder": str(folder)}
            text = json.dumps(order).encode()
            socket.send_fds(line, [len(text).to_bytes(4, "big")], [out.fileno(), err.fileno()])
            line.sendall(text)
            with line.makefile("r") as answers:
                pid = int(answers.readline())
                try:
                    code = answers.readline()
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise
            out.seek(0)
            err.seek(0)
            # nobody was left to say a code: it was killed
            return int(code or -signal.SIGKILL), _text(out.read()), _text(err.read())


def _text(raw: bytes) -> str:
    return raw.decode().replace("\r\n", "\n")


_servers: dict[int, WarmServer] = {}


def warm_server() -> WarmServer:
    """One for a process of tests, started when first asked for."""
    return _servers.get(os.getpid()) or _servers.setdefault(os.getpid(), WarmServer())


def serve(number: int) -> None:
    """What the waiting process does: a child for every connection, until its parent is gone."""
    _import_all()
    assert threading.active_count() == 1, "a process with threads can't be forked"
    gc.freeze()
    with socket.socket(fileno=number) as listener:
        listener.setblocking(True)
        while _somebody(listener):
            line, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _obey(line)
            line.close()
            _bury()


def _bury() -> None:
    """Takes leave of the children that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _import_all() -> None:
    import pgvillage

    for module in pkgutil.walk_packages(pgvillage.__path__, "pgvillage."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            importlib.import_module(module.name)
    for name in ("psycopg", "psycopg_binary", "git", "ldap3", "yaml", "rich.console", "sqlalchemy.dialects.sqlite"):
        importlib.import_module(name)


def _somebody(listener: socket.socket) -> bool:
    """Whether somebody connects, and not our parent that ended."""
    ready, _, _ = select.select([listener, sys.stdin], [], [])
    return listener in ready


def _obey(line: socket.socket) -> None:
    code = 70
    try:
        size, (out, err), _, _ = socket.recv_fds(line, 4, 2)
        with line.makefile("rb") as orders:
            order = json.loads(orders.read(int.from_bytes(size, "big")))
        _become(order, out, err)
        line.sendall(f"{os.getpid()}\n".encode())
        code = _main()
    finally:
        line.sendall(f"{code}\n".encode())
        os._exit(code)


def _become(order: Mapping[str, Any], out: int, err: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(old, new)
        os.close(old)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["pgvillage", *order["arguments"]]


def _main() -> int:
    """`python -m pgvillage`, to its very end."""
    from pgvillage.__main__ import main

    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - said as an interpreter says it
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code
