"""pgvillage doctor."""

from __future__ import annotations

from pgvillage.cli.options import DEFAULT_SETTINGS, NoColorOption, SettingsOption, TimeoutOption, console_of, world_of


def command(
    settings: SettingsOption = DEFAULT_SETTINGS, no_color: NoColorOption = False, timeout: TimeoutOption = None
) -> int:
    """Check that everything a run and the daemon need is there; nothing is changed, and no message is sent."""
    import asyncio

    from rich.text import Text

    from pgvillage.daemon.needs import needs
    from pgvillage.usecases.doctor import Check, examine

    world = world_of(settings, timeout)

    async def look() -> list[Check]:
        of_runs, of_daemon = await asyncio.gather(examine(world, settings), needs(world))
        return [*of_runs, *of_daemon]

    checks = asyncio.run(look())
    console = console_of(no_color=no_color)
    for check in checks:
        mark, style = ("!", "yellow") if check.warning else ("✓", "green") if check.good else ("✗", "red")
        console.print(Text.assemble((f"{mark} ", style), (f"{check.name:<16} ", "bold"), check.text), soft_wrap=True)
    failed = sum(not check.good for check in checks)
    console.print(Text(f"{failed} of {len(checks)} checks failed" if failed else "all is well", style="bold"))
    return 1 if failed else 0
