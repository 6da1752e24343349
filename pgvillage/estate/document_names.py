"""Names for documents from names of roles: lower case, no odd characters, each once."""

from __future__ import annotations

import re
from collections.abc import Callable


def document_names() -> Callable[[str], str]:
    """A function from a role's name to a metadata.name that it has not given before."""
    used: set[str] = set()

    def name_of(role: str) -> str:
        fits = re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", role)
        base = role if fits else re.sub(r"[^a-z0-9]+", "-", role.lower())[:55].strip("-") or "role"
        name, number = base, 2
        while name in used:
            name, number = f"{base[:55].rstrip('-._')}-{number}", number + 1
        used.add(name)
        return name

    return name_of
