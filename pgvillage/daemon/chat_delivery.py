"""A notice on its way to one channel: its templates, its form, its sending."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from pgvillage.clients.chat import Parcel, send
from pgvillage.clients.chat_answers import Delivered, Fault, NotDelivered
from pgvillage.core.notice import Notice, Told
from pgvillage.report.chat_payload import payload_of
from pgvillage.report.chat_plain import encoded
from pgvillage.report.chat_texts import KINDS
from pgvillage.settings import Channel

log = structlog.get_logger("pgvillage.chat")

_LARGEST = 64 * 1024  # bytes of a template


async def deliver(name: str, channel: Channel, notice: Notice, identity: str, reference: str = "") -> Delivered:
    """Send it; one that the service does not take as it is goes as its title alone. Raises NotDelivered, SecretError.

    `identity` is of the message in the outbox; `reference` of the one before, which a Slack bot updates.
    """
    payload, text = payload_of(channel, notice, templates_of(channel))
    if text.problem:
        log.warning("template not used", channel=name, problem=text.problem)
    old = reference if notice.told is not Told.OPENED else ""
    key = hashlib.sha256(identity.encode() + encoded(payload)).hexdigest()[:32]
    parcel = Parcel(payload, key, old, reply=notice.told is Told.ESCALATED)
    try:
        return await send(name, channel, parcel)
    except NotDelivered as error:
        if error.fault is not Fault.REFUSED:
            raise
        log.warning("message refused, its title is sent alone", channel=name, error=error.words)
        short, _ = payload_of(channel, replace(notice, lines=(), targets=(), step="", link=""))
        return await send(name, channel, replace(parcel, payload=short))


def templates_of(channel: Channel) -> Mapping[str, str]:
    """Templates by kind of the channel's folder; a file that can't be read is one that fails, and is told so."""
    found: dict[str, str] = {}
    for kind in KINDS if channel.templates is not None else ():
        file = Path(channel.templates or "") / f"{kind}.j2"
        try:
            data = file.read_bytes()[: _LARGEST + 1]
            found[kind] = data.decode() if len(data) <= _LARGEST else "{{ this_file_is_larger_than_64_KiB }}"
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError):
            found[kind] = "{{ this_file_can_not_be_read }}"
    return found
