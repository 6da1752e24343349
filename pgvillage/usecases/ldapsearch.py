"""The `ldapsearch` command that asks what we asked, to paste into a shell; no password is ever in it."""

from __future__ import annotations

import shlex

from pgvillage.core.ldap_filter import readable
from pgvillage.core.lookup import DirectoryVisit, GroupQuery
from pgvillage.settings import Directory


def ldapsearch(query: GroupQuery, settings: Directory, visit: DirectoryVisit) -> str:
    """'' for an LDIF file."""
    if settings.ldif is not None:
        return ""
    uri = visit.uri or next(iter(settings.uris), "")
    words = ["ldapsearch", "-LLL", "-H", uri]
    if uri.startswith("ldap:") and settings.start_tls:
        words.append("-ZZ")
    bind = settings.bind
    if bind is None:
        words.append("-x")
    elif bind.external:
        words += ["-Y", "EXTERNAL"]
    elif bind.gssapi:
        words += ["-Y", "GSSAPI"]
    else:
        words += ["-x", "-D", bind.dn or "", "-W"]
    return " ".join([*_environment(settings), shlex.join([*words, *_what(query, settings, visit)])])


def _environment(settings: Directory) -> list[str]:
    files = {"LDAPTLS_CACERT": settings.ca}
    if settings.tls:
        files |= {"LDAPTLS_CERT": settings.tls.cert, "LDAPTLS_KEY": settings.tls.key}
    return [f"{name}={shlex.quote(str(path))}" for name, path in files.items() if path is not None]


def _what(query: GroupQuery, settings: Directory, visit: DirectoryVisit) -> list[str]:
    pages = ["-E", f"pr={settings.page_size}/noprompt"]
    attributes = list(query.attributes) or ["cn"]
    if not query.group:
        return [*pages, "-b", query.base or settings.base, query.filter, *attributes]
    if not visit.active_directory and "memberOf" not in settings.member_attributes:
        return ["-s", "base", "-b", query.group, "(objectClass=*)", *settings.member_attributes]
    rule = ":1.2.840.113556.1.4.1941:" if query.nested and visit.active_directory else ""
    people = f"(memberOf{rule}={readable(query.group)})"
    return [*pages, "-b", settings.base, f"(&{people}{query.filter})" if query.filter else people, *attributes]
