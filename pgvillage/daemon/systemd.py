"""What systemd is told: ready, alive, reloading, stopping; sd_notify(3) without its library."""

from __future__ import annotations

import os
import socket
import time

import structlog

log = structlog.get_logger("pgvillage.systemd")


def notify(*facts: str) -> bool:
    """Send facts such as READY=1 to the service manager; False where none listens (NOTIFY_SOCKET unset) or hears."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as found:
            found.settimeout(1)
            found.sendto("\n".join(facts).encode(), address.replace("@", "\0", 1))
    except OSError as error:
        log.warning("systemd not told", error=error.strerror)
        return False
    return True


def reloading() -> bool:
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_pause() -> float | None:
    """Seconds between signs of life: a third of what systemd waits; None where it does not wait for us."""
    limit, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or int(limit) == 0 or (process and process != str(os.getpid())):
        return None
    return int(limit) / 1e6 / 3
