"""How git may reach an estate repository: its environment and credentials, one run of it, and its errors."""

from __future__ import annotations

import base64
import os
import re
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from pgvillage.clients.git_url import CONTROL, Remote, plain
from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import SourceError
from pgvillage.settings import Repository

_USERINFO = re.compile(r"//[^/\s]*@")
_STDERR_TAIL = 16 * 1024
_SHOWN_ERROR = 400

# Set for every git run, above any file: nothing of a repository may run a program or redirect a credential.
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "fetch.unpackLimit": "1",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.sslVerify": "true",
    "maintenance.auto": "false",
    "protocol.ext.allow": "never",
    "safe.directory": "*",
    "submodule.recurse": "false",
    "transfer.bundleURI": "false",
}
# A local fetch starts git-upload-pack, which drops the settings above (git unsets GIT_CONFIG_COUNT for it) and refuses
# a repository of another uid: usual in CI containers and for a service account. upload-pack is made to serve untrusted
# repositories (git-upload-pack(1), SECURITY), and no other program opens that repository, so ownership may differ here.
_GLOBAL_CONFIG = "[safe]\n\tdirectory = *\n[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n"
# From the operator's own environment: proxies and extra certificate authorities, for https only.
_PROXIES = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")
_CA_FILES = ("GIT_SSL_CAINFO", "SSL_CERT_FILE")

_CAUSES = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED",
     "the server's host key is not the one pinned in {known_hosts}: find out why before you replace it there"),
    (r"Host key verification failed",
     "the server's host key is not in {known_hosts}: get it from the server's owner and add it"),
    (r"UNPROTECTED PRIVATE KEY FILE", "ssh does not use {ssh_key}, because others can read it: chmod 600 it"),
    (r"Permission denied \(|Too many authentication failures",
     "the server refused the ssh key ({ssh_key}): allow its public key to read the repository"),
    (r"could not read (Username|Password)|Authentication failed|returned error: 40[13]",
     "the server refused access: {login}"),
    (r"returned error: 3\d\d|redirect", "the server redirects elsewhere, which is not followed: set the final URL"),
    (r"certificate|SSL", "the server's certificate is not trusted ({detail}): name its CA in SSL_CERT_FILE"),
    (r"Could not resolve (host|proxy)|Name or service not known|Could not resolve hostname",
     "the host name is not known ({detail})"),
    (r"does not appear to be a git repository|returned error: 404|not found",
     "there is no git repository there, or it is not to be seen with this login ({detail})"),
)  # fmt: skip
_MISSING = re.compile(r"couldn't find remote ref|not our ref|unadvertised object|no such remote ref", re.IGNORECASE)


class NotInRepository(SourceError):
    """The server answered, and has no such branch, tag or commit."""


class OtherObjectFormat(SourceError):
    """The repository names objects by another hash (SHA-256, or SHA-1 again) than the clone does."""


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    stdout: bytes
    stderr: str


class Git:
    """Runs git for one repository: clean environment, limited protocol and time, errors without secrets."""

    def __init__(self, repository: Repository, remote: Remote, cache: Path) -> None:
        self.repository = repository
        self.remote = remote
        self._home = cache / "home"
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._global = cache / "gitconfig"
        if not self._global.is_file() or self._global.read_text(errors="replace") != _GLOBAL_CONFIG:
            fresh = cache / f"gitconfig.{os.getpid()}.{threading.get_ident()}"
            fresh.write_text(_GLOBAL_CONFIG)
            fresh.replace(self._global)

    def environment(self) -> dict[str, str]:
        """For git runs that stay on this host; holds no secret."""
        return {**self._base(), **_as_environment(_CONFIG)}

    def run(self, *args: str, locked: int | None = None) -> Answer:
        """Run git on this host; the caller judges the exit code."""
        return self._run(args, self.environment(), locked)

    def reach(self, *args: str, locked: int | None = None) -> bytes:
        """Run a git command that talks to the repository; its output. Raises SourceError with the cause."""
        config = {**_CONFIG, "http.lowSpeedLimit": "1", "http.lowSpeedTime": str(int(self.repository.timeout) + 1)}
        extra: dict[str, str] = {}
        secrets: list[str] = []
        if self.remote.scheme in {"https", "http"}:
            extra = _trust()
            secrets = self._authorise(config)
        elif self.remote.scheme == "ssh":
            extra = _ssh(self.repository)
        answer = self._run(args, {**self._base(), **extra, **_as_environment(config)}, locked)
        if answer.code:
            raise self._failure(_scrub(answer.stderr, secrets))
        return answer.stdout

    def _base(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._home),
            "XDG_CONFIG_HOME": str(self._home),
            "LANG": "C",
            "LC_ALL": "C",
            "GIT_ALLOW_PROTOCOL": self.remote.scheme,
            "GIT_ASKPASS": "",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(self._home.parent),
            "GIT_CONFIG_GLOBAL": str(self._global) if self.remote.folder else "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def _authorise(self, config: dict[str, str]) -> list[str]:
        """Put the token into `config` for this host only; what must not be shown."""
        if self.repository.token is None:
            return []
        token = read_secret(self.repository.token, "repository.token").reveal()
        login = f"{self.repository.username}:{token}"
        if CONTROL.search(login) or ":" in self.repository.username:
            raise SourceError("repository.token or repository.username holds a character that HTTP cannot carry")
        encoded = base64.b64encode(login.encode()).decode()
        parts = urlsplit(self.remote.argument)
        config[f"http.{parts.scheme}://{parts.netloc}/.extraHeader"] = f"Authorization: Basic {encoded}"
        return [token, encoded]

    def _run(self, args: Sequence[str], env: Mapping[str, str], locked: int | None) -> Answer:
        with tempfile.TemporaryFile() as stderr:
            try:
                process = subprocess.Popen(
                    ["git", *args], env=env, cwd=self._home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=stderr, start_new_session=True, pass_fds=() if locked is None else (locked,),
                )  # fmt: skip
            except FileNotFoundError:
                raise SourceError("git is not installed: apt-get install git") from None
            stdout = self._wait(process)
            return Answer(process.returncode, stdout, _tail(stderr))

    def _wait(self, process: subprocess.Popen[bytes]) -> bytes:
        try:
            return process.communicate(timeout=self.repository.timeout)[0]
        except subprocess.TimeoutExpired:
            raise SourceError(
                f"{self.remote.shown}: no answer within {self.repository.timeout:g} s (repository.timeout)"
            ) from None
        finally:
            if process.poll() is None:  # git's own children (ssh, git-remote-https) are in its group
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

    def _failure(self, stderr: str) -> SourceError:
        shown = self.remote.shown
        detail = _last_words(stderr)
        if _MISSING.search(stderr):
            return NotInRepository(f"{shown}: {detail}")
        if "mismatched algorithms" in stderr:
            return OtherObjectFormat(f"{shown}: {detail}")
        login = "check repository.token" if self.repository.token else "it asks for a login; set repository.token"
        for pattern, text in _CAUSES:
            if re.search(pattern, stderr):
                known_hosts, key = self.repository.known_hosts, self.repository.ssh_key or "no repository.sshKey is set"
                return SourceError(
                    f"{shown}: " + text.format(known_hosts=known_hosts, ssh_key=key, login=login, detail=detail)
                )
        return SourceError(f"{shown}: git says: {detail}")


def _as_environment(config: Mapping[str, str]) -> dict[str, str]:
    """Git's own way to take settings from the environment, so that no secret stands in an argument list."""
    pairs = {f"GIT_CONFIG_KEY_{at}": key for at, key in enumerate(config)}
    values = {f"GIT_CONFIG_VALUE_{at}": value for at, value in enumerate(config.values())}
    return {"GIT_CONFIG_COUNT": str(len(config)), **pairs, **values}


def _trust() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PROXIES if os.environ.get(name)}
    ca = next((os.environ[name] for name in _CA_FILES if os.environ.get(name)), None)
    return {**kept, "GIT_SSL_CAINFO": ca} if ca else kept


def _ssh(repository: Repository) -> dict[str, str]:
    if repository.known_hosts is None:
        raise SourceError("an ssh repository needs repository.knownHosts: a file with the server's host key")
    options = [
        "BatchMode=yes", "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no",
        "CheckHostIP=no", "VerifyHostKeyDNS=no", "CanonicalizeHostname=no", "ClearAllForwardings=yes",
        "ForwardAgent=no", "PermitLocalCommand=no", "ControlMaster=no", "ControlPath=none",
        f"ConnectTimeout={max(1, int(repository.timeout))}", "ServerAliveInterval=15", "ServerAliveCountMax=2",
        f"UserKnownHostsFile={_ssh_path(repository.known_hosts, 'knownHosts')}",
    ]  # fmt: skip
    extra = {}
    if repository.ssh_key is not None:
        key = _ssh_path(repository.ssh_key, "sshKey")
        options += ["IdentitiesOnly=yes", "IdentityAgent=none", f"IdentityFile={key}"]
    elif agent := os.environ.get("SSH_AUTH_SOCK"):
        extra["SSH_AUTH_SOCK"] = agent
    command = ["ssh", "-F", "/dev/null", *(part for option in options for part in ("-o", option))]
    return {**extra, "GIT_SSH_COMMAND": shlex.join(command), "GIT_SSH_VARIANT": "ssh"}


def _ssh_path(path: Path, key: str) -> str:
    """`path` as ssh's options take it: quoted, `%` doubled; ssh would expand ${...} and cannot quote a quote."""
    full = str(path.expanduser().absolute())
    if not Path(full).is_file():
        raise SourceError(f"repository.{key}: there is no file {path}")
    if CONTROL.search(full) or any(mark in full for mark in ('"', "\\", "${")):
        raise SourceError(f"repository.{key}: ssh cannot take a path with quotes, backslashes or ${{: {plain(full)}")
    return '"' + full.replace("%", "%%") + '"'


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _STDERR_TAIL))
    return file.read().decode(errors="replace")


def _scrub(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "…")
    return _USERINFO.sub("//", text)


def _last_words(stderr: str) -> str:
    lines = [plain(line).strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    text = "; ".join((fatal or lines)[:2]).replace("fatal: ", "").replace("error: ", "")
    return text[:_SHOWN_ERROR] or "nothing"
