"""pgvillage serve."""

from __future__ import annotations

from pgvillage.cli.options import DEFAULT_SETTINGS, SettingsOption, world_of


def command(settings: SettingsOption = DEFAULT_SETTINGS) -> int:
    """Run the reconciler: follow the repository, observe every target, apply by policy, report drift to chat."""
    import asyncio

    from pgvillage.daemon.service import serve

    asyncio.run(serve(world_of(settings), settings))
    return 0
