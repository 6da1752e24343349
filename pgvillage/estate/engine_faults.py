"""What an HA engine would not take, or would turn into something else: said at validation, with its place."""

from __future__ import annotations

from collections.abc import Iterator

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.hba_text import hba_faults, secret_options
from pgvillage.estate.located import Located, Manifests
from pgvillage.estate.manifest import Cluster
from pgvillage.estate.manifest.common import text_of
from pgvillage.estate.manifest.ha import Init, StandbyOf
from pgvillage.estate.stolon_parameters import refuse_parameters


def engine_faults(manifests: Manifests) -> Iterator[Diagnostic]:
    stolon = False
    for cluster in manifests.clusters.values():
        spec = cluster.document.spec
        if spec.ha.engine != "none":
            yield from _rules(cluster)
        if spec.ha.engine == "stolon":
            stolon = True
            yield from _parameters(cluster)
            yield from _beginning(cluster)
            yield from _commands(cluster)
    if stolon and manifests.estate is not None:
        for name, value in manifests.estate.document.spec.defaults.parameters.items():
            words = refuse_parameters({name: text_of(value)}, use_pgrewind=False).get(name)
            if words:
                message = f"{name}: {words}"
                yield manifests.estate.fault(message, "spec", "defaults", "parameters", name, hint=_HINT)


_HINT = "remove it here: the engine decides it"


def _parameters(cluster: Located[Cluster]) -> Iterator[Diagnostic]:
    rewind = cluster.document.spec.ha.rewind is True
    for name, value in cluster.document.spec.postgres.parameters.items():
        if value is None:
            continue
        words = refuse_parameters({name: text_of(value)}, use_pgrewind=rewind).get(name)
        if words:
            yield cluster.fault(f"{name}: {words}", "spec", "postgres", "parameters", name, hint=_HINT)
        elif "\0" in text_of(value):
            yield cluster.fault(f"{name} holds a NUL character", "spec", "postgres", "parameters", name)


def _rules(cluster: Located[Cluster]) -> Iterator[Diagnostic]:
    engine = cluster.document.spec.ha.engine
    for index, rule in enumerate(cluster.document.spec.postgres.hba or ()):
        for field, words in hba_faults(rule):
            yield cluster.fault(words, "spec", "postgres", "hba", index, field)
        for name in secret_options(rule):
            message = f"{name} would stand in clear in what {engine} keeps in etcd, and in its logs"
            hint = "bind without it (ldapprefix and ldapsuffix bind as whoever logs in), or write the rule elsewhere"
            yield cluster.fault(message, "spec", "postgres", "hba", index, "options", hint=hint)


def _beginning(cluster: Located[Cluster]) -> Iterator[Diagnostic]:
    ha = cluster.document.spec.ha
    if ha.init is None or not isinstance(ha.standby_of, StandbyOf):
        return
    if ha.init.mode == "new":
        message = "a cluster that follows another begins with a copy of its data, not with mode new"
        yield cluster.fault(message, "spec", "ha", "init", "mode", hint="use mode pitr or existing")
    elif ha.init.target is not None:
        message = "a cluster that follows another never stops recovering: it takes no target"
        yield cluster.fault(message, "spec", "ha", "init", "target", hint="remove it")


def _commands(cluster: Located[Cluster]) -> Iterator[Diagnostic]:
    """They become a line of postgresql.conf."""
    ha = cluster.document.spec.ha
    init = ha.init or Init()
    following = ha.standby_of if isinstance(ha.standby_of, StandbyOf) else None
    target = init.target.model_dump(exclude_none=True) if init.target else {}
    found = [
        (("init", "dataRestoreCommand"), init.data_restore_command),
        (("init", "restoreCommand"), init.restore_command),
        (("standbyOf", "restoreCommand"), following.restore_command if following else None),
        *((("init", "target", name), text) for name, text in target.items()),
    ]
    for path, text in found:
        if text is not None and not all(char.isprintable() for char in text):
            message = f"{path[-1]} holds a line break or another control character"
            yield cluster.fault(message, "spec", "ha", *path, hint="write it on one line; call a script for more")
