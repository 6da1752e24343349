"""A Terraform state (version 4): the resources of the provider cyrilgdn/postgresql."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pgvillage.imports.draft import Draft
from pgvillage.imports.expressible import GRANTED_CLASSES
from pgvillage.imports.reading import Node, Reading, Section
from pgvillage.imports.scope import Scope
from pgvillage.imports.terraform_databases import DATABASE_RESOURCES
from pgvillage.imports.terraform_roles import ROLE_RESOURCES

_STATE = ("terraform_version", "serial", "lineage")
_RESOURCES: Mapping[str, Callable[[Draft, Section], None]] = {**ROLE_RESOURCES, **DATABASE_RESOURCES}


def fits(content: dict[str, object]) -> bool:
    """Whether this looks like a state."""
    return "resources" in content and ("terraform_version" in content or "lineage" in content)


def convert(reading: Reading, scope: Scope) -> Draft:
    draft = Draft("Terraform", reading.root)
    draft.server.hosts = list(scope.hosts)
    top = reading.root.section()
    for key in _STATE:
        top.get(key)
    if (version := top.get("version")).value != 4:
        version.fault("a state of version 4")
    top.empties_count = False
    top.decline("outputs", "outputs are Terraform's own", "leave them out")
    top.decline("check_results", "checks are Terraform's own", "leave them out")
    for resource in top.get("resources").entries():
        _resource(draft, resource)
    _authority(draft)
    return draft


def _resource(draft: Draft, node: Node) -> None:
    section = node.section()
    section.asked.update(dict.fromkeys(("name", "module", "provider", "each")))
    mode, kind = section.get("mode").text(), section.get("type").text()
    instances = section.get("instances")
    words = [section.values.get(key) for key in ("module", "type", "name")]
    node.reading.labels[node.path] = ".".join(word for word in words if isinstance(word, str))
    if mode == "data":
        node.note(f"a data source ({kind}) only reads", "leave it out")
        return
    convert_one = _RESOURCES.get(kind)
    if convert_one is None:
        why = "PgVillage has no such thing" if kind.startswith("postgresql_") else "this is not PostgreSQL's provider"
        node.note(f"{kind or 'a resource without a type'} is left out: {why}", "keep it in Terraform")
        return
    for instance in instances.entries():
        found = instance.section()
        found.asked.update(dict.fromkeys(_INSTANCE))
        attributes = found.get("attributes").section()
        attributes.empties_count = False
        attributes.get("id")
        convert_one(draft, attributes)


# How Terraform keeps its books, not what the server is like.
_INSTANCE = (
    "schema_version", "sensitive_attributes", "private", "dependencies", "index_key", "create_before_destroy",
    "identity_schema_version", "status", "deposed", "identity",
)  # fmt: skip


def _authority(draft: Draft) -> None:
    """Terraform leaves alone what no resource is about: so do classes that no grant here is about."""
    classes = draft.grants.classes()
    draft.cluster["authority"] = {"privileges": [c for c in GRANTED_CLASSES if c in classes]}
