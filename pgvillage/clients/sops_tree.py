"""What is in a SOPS file: values by path, decrypted and checked against the MAC; and the text with one more."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import yaml

_VALUE = re.compile(r"ENC\[AES256_GCM,data:(.*),iv:(.+),tag:(.+),type:(str|int|float|bool|bytes|time|comment)\]\Z")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_YAML_WORDS = frozenset(["y", "yes", "n", "no", "true", "false", "on", "off", "null"])
# SOPS begins the MAC with this when it covers encrypted values alone (sops.go, MACOnlyEncryptedInitialization).
_ONLY_ENCRYPTED = bytes.fromhex("8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69")
_DEFAULT_SUFFIX = "_unencrypted"
_SELECTORS = ("unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex")
_COMMENT_SELECTORS = ("unencrypted_comment_regex", "encrypted_comment_regex")

Path = tuple[str, ...]


class Broken(Exception):
    """What is wrong with a file, in words that hold nothing of it."""


@dataclass(frozen=True, slots=True, repr=False)
class Tree:
    """`values` in the file's order: path, bytes as SOPS hashes them, whether encrypted. List items share a path."""

    values: Sequence[tuple[Path, bytes, bool]]
    branches: frozenset[Path]
    metadata: Mapping[str, Any]
    data_key: bytes
    json_file: bool

    def leaf(self, path: Sequence[str]) -> bytes | frozenset[Path] | None:
        """The value at `path`; what is there instead when it is no single value; None for nothing."""
        found = [value for each, value, _ in self.values if each == tuple(path)]
        if len(found) == 1 and tuple(path) not in self.branches:
            return found[0]
        return self.branches if found or tuple(path) in self.branches else None


def read_tree(text: str, *, json_file: bool, data_key: Callable[[list[str]], bytes]) -> Tree:
    """Raises Broken, also when the MAC does not fit: then somebody changed the file who could not encrypt."""
    document = _json(text) if json_file else _yaml(text)
    metadata = document.pop("sops", None)
    if not isinstance(metadata, dict):
        raise Broken("it is no SOPS file: it has no `sops` part")
    if metadata.get("key_groups") or metadata.get("shamir_threshold"):
        raise Broken("it is encrypted for key groups, which is not supported: use age recipients alone")
    encrypted = [str(each.get("enc", "")) for each in metadata.get("age") or () if isinstance(each, dict)]
    if not encrypted:
        raise Broken("it is not encrypted with age")
    key = data_key(encrypted)
    branches: set[Path] = set()
    values = [(path, *_clear(value, path, key)) for path, value in _leaves(document, (), branches) if value is not None]
    kept = [(path, value, secret) for path, value, secret, comment in values if not comment]
    tree = Tree(kept, frozenset(branches), metadata, key, json_file)
    _check(tree)
    return tree


def with_value(tree: Tree, text: str, path: Sequence[str], value: str, now: datetime) -> str:
    """The file's text with one more encrypted value at its end, and the MAC and time renewed."""
    _may_be_added(tree, path)
    sealed = _sealed(value.encode(), tree.data_key, ":".join(path) + ":")
    longer = Tree(
        [*tree.values, (tuple(path), value.encode(), True)], tree.branches, tree.metadata, tree.data_key, tree.json_file
    )
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    mac = _sealed(_mac(longer).encode(), tree.data_key, moment)
    write = _into_json if tree.json_file else _into_yaml
    return write(text, path, sealed, moment, mac)


def with_other_value(tree: Tree, text: str, path: Sequence[str], value: str, now: datetime) -> str:
    """The file's text with another value where an encrypted one is, and the MAC and time renewed."""
    node: Any = _json(text) if tree.json_file else _yaml(text)
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, str) or not _VALUE.match(node) or text.count(node) != 1:
        raise Broken(f"{'/'.join(path)!r} is no single encrypted value")
    values = [(each, value.encode() if each == tuple(path) else data, secret) for each, data, secret in tree.values]
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    mac = _sealed(_mac(replace(tree, values=values)).encode(), tree.data_key, moment)
    changed = text.replace(node, _sealed(value.encode(), tree.data_key, ":".join(path) + ":"))
    if not tree.json_file:
        head, tail = _parts(changed)
        return "\n".join([*head, *_renewed(tail, moment, mac)]) + "\n"
    document = json.loads(changed)
    document["sops"] |= {"lastmodified": moment, "mac": mac}
    return json.dumps(document, indent="\t", ensure_ascii=False) + "\n"


# --- what SOPS does


def _clear(value: object, path: Path, key: bytes) -> tuple[bytes, bool, bool]:
    """The bytes that SOPS hashes, whether they were encrypted, whether they are a comment."""
    match = _VALUE.match(value) if isinstance(value, str) else None
    if match is None:
        return _bytes_of(value), False, False
    data = _opened(match, key, ":".join(path) + ":")
    kind = match[4]
    if kind == "int":
        data = _bytes_of(int(data))
    elif kind == "float":
        data = _bytes_of(float(data))
    return data, True, kind == "comment"


def _opened(match: re.Match[str], key: bytes, about: str) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        data, iv, tag = (base64.b64decode(match[n], validate=True) for n in (1, 2, 3))
        return AESGCM(key).decrypt(iv, data + tag, about.encode())
    except (InvalidTag, binascii.Error, ValueError):
        raise Broken("a value can't be decrypted: it was damaged or moved to another key") from None


def _sealed(data: bytes, key: bytes, about: str) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    iv = os.urandom(32)
    out = AESGCM(key).encrypt(iv, data, about.encode())
    parts = [base64.b64encode(part).decode() for part in (out[:-16], iv, out[-16:])]
    return f"ENC[AES256_GCM,data:{parts[0]},iv:{parts[1]},tag:{parts[2]},type:str]"


def _mac(tree: Tree) -> str:
    alone = _is_true(tree.metadata.get("mac_only_encrypted"))
    found = hashlib.sha512(_ONLY_ENCRYPTED if alone else b"")
    for _, value, secret in tree.values:
        if secret or not alone:
            found.update(value)
    return found.hexdigest().upper()


def _check(tree: Tree) -> None:
    match = _VALUE.match(str(tree.metadata.get("mac", "")))
    if match is None:
        raise Broken("it has no MAC")
    stored = _opened(match, tree.data_key, str(tree.metadata.get("lastmodified", "")))
    if not hmac.compare_digest(stored, _mac(tree).encode()):
        raise Broken("the MAC does not fit: the file was changed without sops")


def _bytes_of(value: object) -> bytes:
    if isinstance(value, bool):
        return b"True" if value else b"False"
    if isinstance(value, float):
        text = format(Decimal(repr(value)), "f")
        return (text.rstrip("0").rstrip(".") if "." in text else text).encode()
    if isinstance(value, date) and not isinstance(value, datetime):
        return f"{value}T00:00:00Z".encode()
    return str(value).encode()


def _leaves(node: object, path: Path, branches: set[Path]) -> Iterator[tuple[Path, object]]:
    if isinstance(node, dict):
        branches.add(path)
        for key, value in node.items():
            yield from _leaves(value, (*path, str(key)), branches)
    elif isinstance(node, list):
        branches.add(path)
        for value in node:
            yield from _leaves(value, path, branches)
    else:
        yield path, node


def _is_true(value: object) -> bool:
    return value is True or value == "true"


# --- YAML and JSON


class _Loader(yaml.SafeLoader):
    """YAML as SOPS reads it: of the words of YAML 1.1 only true and false are booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def _yaml(text: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        plain = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - makes nothing but text
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Broken("it is not YAML with one document") from None
    if not isinstance(document, dict):
        raise Broken("it is no SOPS file: it is no mapping")
    if "sops" in document:  # as text: a time must stay as it is written
        document["sops"] = plain["sops"]
    return document


def _json(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise Broken("it is not JSON") from None
    if not isinstance(document, dict):
        raise Broken("it is no SOPS file: it is no object")
    return document


def _may_be_added(tree: Tree, path: Sequence[str]) -> None:
    if any(not part or ":" in part for part in path) or path[0] == "sops":
        raise Broken(f"{'/'.join(path)!r} can't be a key of it")
    if len(path) > 1 and (path[0],) in tree.branches:  # values are hashed in the order of the file
        raise Broken(f"{path[0]!r} is there already and a key can't be added within it")
    for end in range(1, len(path)):
        if any(each == tuple(path[:end]) for each, _, _ in tree.values):
            raise Broken(f"{'/'.join(path[:end])!r} is a value, and nothing can be within it")
    if any(tree.metadata.get(name) for name in _COMMENT_SELECTORS):
        raise Broken("comments say what it encrypts")
    if not _would_be_encrypted(tree.metadata, path):
        raise Broken(f"it does not encrypt what is called {'/'.join(path)!r}")


def _would_be_encrypted(metadata: Mapping[str, Any], path: Sequence[str]) -> bool:
    rules = {name: str(metadata[name]) for name in _SELECTORS if metadata.get(name)}
    if not rules:
        rules = {"unencrypted_suffix": _DEFAULT_SUFFIX}
    tests: dict[str, Callable[[str, str], bool]] = {
        "suffix": lambda rule, part: part.endswith(rule),
        "regex": lambda rule, part: re.search(rule, part) is not None,
    }
    for name, rule in rules.items():
        hit = any(tests[name.split("_")[1]](rule, part) for part in path)
        if hit is name.startswith("unencrypted"):
            return False
    return True


def _into_json(text: str, path: Sequence[str], sealed: str, moment: str, mac: str) -> str:
    document = json.loads(text)
    metadata = document.pop("sops")
    node = document
    for part in path[:-1]:
        node = node.setdefault(part, {})
    node[path[-1]] = sealed
    document["sops"] = {**metadata, "lastmodified": moment, "mac": mac}
    return json.dumps(document, indent="\t", ensure_ascii=False) + "\n"


def _into_yaml(text: str, path: Sequence[str], sealed: str, moment: str, mac: str) -> str:
    """Line by line, so that comments and layout stay."""
    head, tail = _parts(text)
    for depth, part in enumerate(path):
        last = depth + 1 == len(path)
        head.append(f"{'    ' * depth}{_yaml_key(part)}:{f' {sealed}' if last else ''}")
    return "\n".join([*head, *_renewed(tail, moment, mac)]) + "\n"


def _parts(text: str) -> tuple[list[str], list[str]]:
    """The lines before the `sops` part, and those of it."""
    lines = text.splitlines()
    starts = [n for n, line in enumerate(lines) if line.rstrip() == "sops:"]
    if len(starts) != 1:
        raise Broken("its `sops` part is not where it was looked for")
    return lines[: starts[0]], lines[starts[0] :]


def _renewed(tail: list[str], moment: str, mac: str) -> list[str]:
    tail = [re.sub(r"^(\s+)lastmodified: .*$", rf'\1lastmodified: "{moment}"', line) for line in tail]
    return [re.sub(r"^(\s+)mac: .*$", lambda m: f"{m[1]}mac: {mac}", line) for line in tail]


def _yaml_key(part: str) -> str:
    return part if _PLAIN_KEY.match(part) and part.lower() not in _YAML_WORDS else json.dumps(part)
