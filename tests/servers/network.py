"""A network of hosts for tests: one namespace each, joined by a bridge; any of them can be cut off and joined again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.servers import run, which


def missing() -> str:
    """Why there can be no such network here, or ''."""
    programs = [name for name in ("ip", "setpriv") if not which(name)]
    if programs:
        return f"not installed: {', '.join(programs)}"
    return "" if os.geteuid() == 0 else "a network namespace needs root"


@dataclass(frozen=True, slots=True)
class Host:
    """`cable` is its end of the wire at the bridge, where it is cut; `bridge` our address there."""

    namespace: str
    address: str
    cable: str
    bridge: str

    def inside(self, *command: str) -> list[str]:
        """The command as one that runs on this host."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def cut(self) -> None:
        """Nothing comes in and nothing goes out; what runs on the host goes on, and reaches itself."""
        run("ip", "link", "set", self.cable, "down")

    def join(self) -> None:
        run("ip", "link", "set", self.cable, "up")


@dataclass(frozen=True, slots=True)
class Network:
    """`address` is ours at the bridge: what listens there is reached by every host that is not cut off."""

    address: str
    hosts: tuple[Host, ...]


@contextmanager
def lab_network(hosts: int) -> Iterator[Network]:
    """Needs root; one at a time in a process.

    The addresses are of the range for benchmarks (RFC 2544), and nothing leaves the machine.
    """
    number = os.getpid() % 16_000
    net = f"198.{18 + number // 8_000}.{number // 32 % 250}.{number % 32 * 8}".rsplit(".", 1)
    base, first = net[0], int(net[1])
    bridge, ours = f"lab{os.getpid()}", f"{base}.{first + 1}"
    with ExitStack() as stack:
        run("ip", "link", "add", bridge, "type", "bridge")
        stack.callback(run, "ip", "link", "del", bridge)
        run("ip", "address", "add", f"{ours}/29", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        found = tuple(_host(stack, bridge, ours, at, f"{base}.{first + 1 + at}") for at in range(1, hosts + 1))
        yield Network(ours, found)


def _host(stack: ExitStack, bridge: str, ours: str, at: int, address: str) -> Host:
    namespace, cable = f"{bridge}-{at}", f"{bridge}w{at}"
    run("ip", "netns", "add", namespace)
    stack.callback(run, "ip", "netns", "del", namespace)
    run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    run("ip", "link", "set", cable, "master", bridge)
    run("ip", "link", "set", cable, "up")
    run("ip", "-n", namespace, "address", "add", f"{address}/29", "dev", "eth0")
    run("ip", "-n", namespace, "link", "set", "eth0", "up")
    run("ip", "-n", namespace, "link", "set", "lo", "up")
    return Host(namespace, address, cable, ours)
