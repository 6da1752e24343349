"""Rules of pg_hba.conf as an HA engine writes them: lines with right quoting, and what PostgreSQL would not read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence

from pgvillage.estate.manifest.cluster import HbaRule

_TOKEN = re.compile(r'\s*(\+?)("(?:[^"]|"")*"|[^,"]*?)\s*(?:,|\Z)')
_BARE = re.compile(r"[^\s,\"#']+\Z")
_HOST_NAME = re.compile(r"\.?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\Z")
_SECRET = re.compile(r"passwd|password|secret", re.IGNORECASE)
_SECRET_IN_LINE = re.compile(r'((?:passwd|secrets?)=)("(?:[^"]|"")*"|[^\s",]+)', re.IGNORECASE)
_OF_ANY_HOST = frozenset({"map", "include_realm", "krb_realm"})
_OPTIONS: Mapping[str, frozenset[str]] = {
    "ldap": frozenset(
        {"ldapserver", "ldapport", "ldapscheme", "ldaptls", "ldapprefix", "ldapsuffix", "ldapbasedn", "ldapbinddn",
         "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter", "ldapurl"}
    ),
    "pam": frozenset({"pamservice", "pam_use_hostname"}),
    "radius": frozenset({"radiusservers", "radiussecrets", "radiusports", "radiusidentifiers"}),
    "cert": frozenset({"map", "clientcert", "clientname"}),
    "peer": frozenset({"map"}),
    "ident": frozenset({"map"}),
    "gss": _OF_ANY_HOST,
}  # fmt: skip
_WITH_TLS = frozenset({"clientcert", "clientname"})


def hba_line(rule: HbaRule) -> str:
    """One line as PostgreSQL reads it. Quotes that the manifest has are kept: `"all"` is a name, `all` a word."""
    words = [rule.type, _list(rule.database), _list(rule.role)]
    if rule.address is not None:
        words.append(_word(rule.address))
    return " ".join([*words, rule.method, *(f"{name}={_value(text)}" for name, text in rule.options.items())])


def hba_faults(rule: HbaRule) -> Iterator[tuple[str, str]]:
    """The field and why PostgreSQL would not read the rule. One bad line makes it refuse the whole file: at a reload
    it keeps the old rules, at a start it does not start.
    """
    for name in ("database", "role", "address"):
        text = getattr(rule, name)
        if text is not None and not _printable(text):
            yield name, "it holds a line break or another control character"
        elif name != "address" and text is not None and not _readable(text):
            yield name, "it is no list of names: a name with spaces or commas goes in double quotes"
    if rule.address is not None and _printable(rule.address) and not _is_address(rule.address):
        yield (
            "address",
            f"{rule.address!r} is no address: expected ADDRESS/BITS, a host's name, all, samehost or samenet",
        )
    yield from (("method", words) for words in _faults_of_method(rule))
    known = _OPTIONS.get(rule.method, frozenset()) | (_WITH_TLS if rule.type == "hostssl" else frozenset())
    for name, text in rule.options.items():
        if name not in known:
            yield "options", f"method {rule.method} on {rule.type} has no option {name!r}"
        elif not _printable(text):
            yield "options", f"{name} holds a line break or another control character"


def secret_options(rule: HbaRule) -> list[str]:
    """Options that hold a password: an engine keeps its rules where many can read them."""
    return [name for name in rule.options if _SECRET.search(name)]


def masked_line(line: str) -> str:
    """A line as it may be shown."""
    return _SECRET_IN_LINE.sub(r"\1…", line)


def lets_in(rules: Sequence[HbaRule], role: str, database: str) -> bool:
    """Whether somebody may log in as `role` to `database` over the network from some address at least.

    Rules for a group count, as nobody here knows who its members are.
    """
    for rule in rules:
        if rule.type == "local" or not _names(rule.database, database, role) or not _names(rule.role, role, role):
            continue
        if rule.method != "reject":
            return True
        if rule.address == "all":
            return False
    return False


def _names(text: str, name: str, role: str) -> bool:
    for plus, token in _tokens(text):
        bare = token.startswith('"')
        word = token[1:-1].replace('""', '"') if bare else token
        if word == name or (not bare and (plus or word == "all" or word.startswith(("/", "@")))):
            return True
        if not bare and word in ("sameuser", "samerole", "samegroup") and name == role:
            return True
    return False


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.end() == at:
            return []
        found.append((match[1], match[2]))
        at = match.end()
    return found


def _readable(text: str) -> bool:
    names = [name for _, name in _tokens(text)]
    return bool(names) and all(name not in ("", '""') for name in names) and not text.rstrip().endswith(",")


def _list(text: str) -> str:
    return ",".join(plus + (token if token.startswith('"') else _word(token)) for plus, token in _tokens(text))


def _word(text: str) -> str:
    return text if _BARE.match(text) else '"' + text.replace('"', '""') + '"'


def _value(text: str) -> str:
    return _word(text) if text else '""'


def _printable(text: str) -> bool:
    return all(char.isprintable() for char in text)


def _is_address(text: str) -> bool:
    if text in ("all", "samehost", "samenet"):
        return True
    host, _, mask = text.replace(" ", "/", 1).partition("/")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return not mask and bool(_HOST_NAME.match(text))
    if mask.isascii() and mask.isdigit():
        return int(mask) <= address.max_prefixlen
    try:
        return bool(mask) and ipaddress.ip_address(mask).version == address.version
    except ValueError:
        return False


def _faults_of_method(rule: HbaRule) -> Iterator[str]:
    options = rule.options
    if rule.method == "peer" and rule.type != "local":
        yield "peer goes with type local alone"
    if rule.method in ("gss", "ident", "cert") and rule.type == "local":
        yield f"{rule.method} does not go with type local"
    if rule.method == "cert" and rule.type != "hostssl":
        yield "cert goes with type hostssl alone"
    if rule.method == "ldap":
        yield from _faults_of_ldap(options)
    if rule.method == "radius" and not {"radiusservers", "radiussecrets"} <= options.keys():
        yield "radius needs radiusservers and radiussecrets"


def _faults_of_ldap(options: Mapping[str, str]) -> Iterator[str]:
    simple = {"ldapprefix", "ldapsuffix"} & options.keys()
    search = {"ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter"} & options.keys()
    if "ldapurl" not in options and "ldapserver" not in options and "ldapbasedn" not in options:
        yield "ldap needs ldapserver or ldapurl"
    if simple and (search or "ldapurl" in options):
        yield "ldapprefix and ldapsuffix do not go with a search (ldapbasedn, ldapbinddn, ldapurl, ...)"
    elif not simple and "ldapbasedn" not in options and "ldapurl" not in options:
        yield "ldap needs ldapbasedn, ldapprefix, ldapsuffix or ldapurl"
    if {"ldapsearchattribute", "ldapsearchfilter"} <= options.keys():
        yield "ldapsearchattribute and ldapsearchfilter do not go together"
