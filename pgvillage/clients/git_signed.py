"""Who signed the commits of a clone, by the keys that the settings list and no others."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from pgvillage.clients.git_mirror import Mirror
from pgvillage.clients.git_url import plain
from pgvillage.core.errors import SourceError
from pgvillage.settings import Signatures

_MOST_COMMITS = 5_000
_GPG_SECONDS = 30
_REASONS = {
    "N": "is not signed",
    "B": "has a signature that is not its own",
    "U": "is signed with a key that the settings don't list",
    "E": "is signed with a key that the settings don't list",
    "X": "has a signature that has expired",
    "Y": "is signed with a key that has expired",
    "R": "is signed with a key that was revoked",
}


def refusal(mirror: Mirror, signatures: Signatures, old: str, new: str) -> str:
    """Why `new` is not to be trusted, or nothing: each commit of its history that `old` doesn't have must be signed.

    Without an `old` that is known here, `new` answers for its history alone. Raises SourceError for keys that can't be
    read.
    """
    arguments = _keys(mirror, signatures)
    for commit in _since(mirror, old, new):
        code, _ = mirror.output(*arguments, "verify-commit", commit)
        if code:
            _, shown = mirror.output(*arguments, "log", "-1", "--format=%G?%x00%an%x00%s", commit)
            verdict, author, subject = [*shown.split("\0"), "", ""][:3]
            reason = _REASONS.get(verdict, "has a signature that doesn't verify")
            if verdict == "N" and _has_signature(mirror, commit):  # of a kind that no keys are listed for
                reason = _REASONS["E"]
            return f"commit {commit[:12]} ({plain(subject)[:60]!r} by {plain(author)[:60]!r}) {reason}"
    return ""


def _has_signature(mirror: Mirror, commit: str) -> bool:
    head = mirror.output("cat-file", "commit", commit)[1].partition("\n\n")[0]
    return any(line.startswith("gpgsig") for line in head.splitlines())


def _since(mirror: Mirror, old: str, new: str) -> list[str]:
    """The oldest first, so that the first of several bad ones is told."""
    if not old or not mirror.knows(old):
        return [new]
    code, listed = mirror.output("rev-list", "--reverse", f"--max-count={_MOST_COMMITS + 1}", new, f"^{old}")
    found = listed.split()
    if code or len(found) > _MOST_COMMITS:
        raise SourceError(f"more than {_MOST_COMMITS} commits between {old[:12]} and {new[:12]}: too many to verify")
    return found


def _keys(mirror: Mirror, signatures: Signatures) -> list[str]:
    """Fixed arguments: what the repository, the user or the system configures about signatures has no say."""
    signers, keyring = signatures.allowed_signers, signatures.keyring
    for name, file in (("allowedSigners", signers), ("keyring", keyring)):
        if file is not None and not file.is_file():
            raise SourceError(f"repository.signatures.{name}: there is no file {file}")
    if keyring is not None:
        _import(mirror, keyring)
    values = {
        "gpg.format": "openpgp",
        "gpg.minTrustLevel": "undefined",
        "gpg.program": "gpg" if keyring is not None else "false",
        "gpg.x509.program": "false",
        "gpg.ssh.program": "ssh-keygen",
        "gpg.ssh.allowedSignersFile": str(signers or "/dev/null"),
        "gpg.ssh.revocationFile": "",
        "log.showSignature": "false",
    }
    return [each for key, value in values.items() for each in ("-c", f"{key}={value}")]


def _import(mirror: Mirror, keyring: Path) -> None:
    """The keys into the folder that gpg finds below git's own HOME; made anew when the file has changed."""
    home = Path(mirror.git.environment()["HOME"]) / ".gnupg"
    mark = home / "pgvillage-keyring"
    print_ = hashlib.sha256(keyring.read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == print_:
        return
    home.mkdir(mode=0o700, exist_ok=True)
    for left in home.iterdir():
        if left.is_file():
            left.unlink()
    try:
        done = subprocess.run(
            ["gpg", "--batch", "--no-autostart", "--quiet", "--homedir", str(home), "--import", str(keyring)],
            env=mirror.git.environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=_GPG_SECONDS,
            check=False,
        )  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired):
        raise SourceError("repository.signatures.keyring needs gpg: apt-get install gpg") from None
    if done.returncode:
        raise SourceError(f"repository.signatures.keyring: gpg can't import {keyring}")
    mark.write_text(print_)
