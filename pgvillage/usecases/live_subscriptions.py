"""Living subscriptions as manifests say them: where they go as it is, and the password by the name of a secret."""

from __future__ import annotations

import re

from pydantic import ValidationError

from pgvillage.estate.manifest.replication import SubscriptionSpec
from pgvillage.report.words import show_name
from pgvillage.resources.postgres.subscription import SubscriptionState
from pgvillage.usecases.live_cluster import Document, LiveCluster

_OWN_KEYS = {"dbname": "database", "host": "host", "user": "user", "sslmode": "sslmode"}
_OPTIONS = {
    "synchronous_commit": "synchronousCommit", "two_phase": "twoPhase", "disable_on_error": "disableOnError",
    "run_as_owner": "runAsOwner", "password_required": "passwordRequired", "binary": "binary",
    "streaming": "streaming", "origin": "origin", "failover": "failover",
}  # fmt: skip
_USUAL = {
    "synchronousCommit": "off", "passwordRequired": True, "origin": "any", "streaming": "off",
}  # fmt: skip


class Unsaid(ValueError):
    """Why no manifest can say a subscription."""


def subscriptions(live: LiveCluster, database: str, secrets: dict[str, str]) -> list[Document]:
    """An entry each; of the others it is said what is the matter."""
    found = []
    for name, state in live.of("subscription", SubscriptionState, database):
        try:
            found.append(subscription_item(name, state, secrets))
        except Unsaid as error:
            live.left[f"subscription {show_name(name[1])} in {show_name(database)}"] = str(error)
    return found


def subscription_item(name: tuple[str, ...], state: SubscriptionState, secrets: dict[str, str]) -> Document:
    """The password becomes a secret of the settings. Raises Unsaid."""
    pairs = dict(state.place)
    if not pairs:
        raise Unsaid(
            "only a superuser may read where it goes"
            if state.connection == "unknown"
            else "its connection is a URI, and the password in it is never read: declare it by hand, or first "
            "ALTER SUBSCRIPTION … CONNECTION 'host=… dbname=… user=…'"
        )
    entry: Document = {"name": name[1]} | ({"owner": state.owner} if isinstance(state.owner, str) else {})
    entry["connection"] = connection_item(pairs)
    if "password" in pairs:
        secret = _secret_name(*name)
        entry["password"] = {"secret": secret}
    entry |= {"publications": sorted(state.publications)} | _how(name[1], state)
    try:
        SubscriptionSpec.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise Unsaid(f"no manifest can say this: {path + ': ' if path else ''}{first['msg']}") from None
    if "password" in pairs:
        secrets[secret] = f"password of subscription {show_name(name[1])} in {show_name(name[0])}"
    return entry


def connection_item(pairs: dict[str, str]) -> Document:
    found: Document = {key: pairs[name] for name, key in _OWN_KEYS.items() if name in pairs}
    if pairs.get("port", "5432") != "5432":
        found["port"] = int(pairs["port"]) if pairs["port"].isdigit() else pairs["port"]
    rest = {name: value for name, value in pairs.items() if name not in (*_OWN_KEYS, "port", "password")}
    return found | ({"options": rest} if rest else {})


def _how(name: str, state: SubscriptionState) -> Document:
    """What is not as it would be anyway."""
    found: Document = {} if state.enabled else {"enabled": False}
    if state.slot_name != name:
        found["slotName"] = state.slot_name
    if state.slot_name == "none":
        found["createSlot"] = False
    for field, key in _OPTIONS.items():
        value = getattr(state, field)
        if value not in (None, False) and value != _USUAL.get(key):
            found[key] = value
    if state.password_required is False:
        found["passwordRequired"] = False
    return found | ({"comment": state.comment} if isinstance(state.comment, str) else {})


def _secret_name(*parts: str) -> str:
    words = (re.sub(r"[^A-Za-z0-9]+", "-", part).strip("-") for part in parts)
    return ("-".join(words).strip("-")[:110] or "subscription") + "-password"
