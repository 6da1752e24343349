"""What an HA engine would not take, or would turn into something else: said at validation, with its place."""

from __future__ import annotations

from collections.abc import Iterator

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.hba_text import hba_faults, secret_options
from pgvillage.estate.located import Located, Manifests
from pgvillage.estate.manifest import Cluster
from pgvillage.estate.manifest.common import text_of
from pgvillage.estate.manifest.ha import Init, StandbyOf
from pgvillage.estate.patroni_parameters import refuse_parameter
from pgvillage.estate.stolon_parameters import refuse_parameters


def engine_faults(manifests: Manifests) -> Iterator[Diagnostic]:
    engines = set()
    for cluster in manifests.clusters.values():
        spec = cluster.document.spec
        engines.add(spec.ha.engine)
        if spec.ha.engine != "none":
            yield from _rules(cluster)
            yield from _parameters(cluster)
        if spec.ha.engine == "stolon":
            yield from _beginning(cluster)
            yield from _commands(cluster)
        if spec.ha.engine == "patroni":
            yield from _timings(cluster)
    if manifests.estate is not None:
        for name, value in manifests.estate.document.spec.defaults.parameters.items():
            refused = (_refused(engine, name, text_of(value)) for engine in sorted(engines))
            if words := next(filter(None, refused), ""):
                message = f"{name}: {words}"
                yield manifests.estate.fault(message, "spec", "defaults", "parameters", name, hint=_HINT)


_HINT = "remove it here: the engine decides it"


def _refused(engine: str, name: str, value: str, *, rewind: bool = False) -> str:
    if engine == "stolon":
        return refuse_parameters({name: value}, use_pgrewind=rewind).get(name, "")
    return refuse_parameter(name, value) if engine == "patroni" else ""


def _parameters(cluster: Located[Cluster]) -> Iterator[Diagnostic]:
    ha = cluster.document.spec.ha
    for name, value in cluster.document.spec.postgres.parameters.items():
        if value is None:
            continue
        words = _refused(ha.engine, name, text_of(value), rewind=ha.rewind is True)
        if words:
            yield cluster.fault(f"{name}: {words}", "spec", "postgres", "parameters", name, hint=_HINT)
        elif "\0" in text_of(value):
            yield cluster.fault(f"{name} holds a NUL character", "spec", "postgres", "parameters", name)


def _timings(cluster: Located[Cluster]) -> Iterator[Diagnostic]:
    """Patroni's rule, where the manifest has all that it is about; else the plan knows the rest."""
    timings = cluster.document.spec.ha.timings
    if timings is None or isinstance(timings, str):
        return
    ttl, wait, retry = timings.ttl, timings.loop_wait, timings.retry_timeout
    if ttl is not None and wait is not None and retry is not None and wait + 2 * retry > ttl:
        message = f"loopWait ({wait}) + 2 * retryTimeout ({retry}) must be at most ttl ({ttl})"
        hint = "Patroni would silently take other values"
        yield cluster.fault(message, "spec", "ha", "timings", "ttl", hint=hint)


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
