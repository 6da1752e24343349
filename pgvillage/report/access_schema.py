"""JSON Schemas of what `who-can -o json` and `explain role -o json` write."""

from __future__ import annotations

from pgvillage.access.ways import How
from pgvillage.access.who_can import Hindrance
from pgvillage.report.access_json import ACCESS_VERSION
from pgvillage.report.schema_parts import Schema, count, flag, list_of, object_of, one_of, string
from pgvillage.resources.postgres.acl import ALL

_VERSION = {"const": ACCESS_VERSION, "description": "Rises when a reader of the version before would misread."}
_TIME = string("When it was read.", format="date-time")
_CLASS = one_of(tuple(ALL), "Class of object.")


def _roles(description: str) -> Schema:
    return list_of(string("A role's name."), description)


def _failed() -> Schema:
    one = object_of("A cluster that gave no answer.", cluster=string("Its name."), message=string("Why."))
    return list_of(one, "Clusters that could not be read.")


def _way(description: str, **more: Schema) -> Schema:
    return object_of(
        description,
        how=one_of(list(How), "What the privilege springs from."),
        role=string("The role that holds it; null for superusers and PUBLIC.", null=True),
        through=_roles("Memberships: from the nearest role up to the one that holds it, or to `set_role`."),
        set_role=string("The role it has to SET ROLE to first; null where it has the privilege by itself.", null=True),
        then=_roles("Memberships from `set_role` up to the role that holds it."),
        grantable=flag("Whether it may be passed on."),
        columns=list_of(string("A column."), "The columns it is limited to; empty is the whole object."),
        **more,
    )


def _feed() -> Schema:
    found = object_of(
        "The directory's group that feeds the nearest role.",
        directory=string("Name of the directory in the settings."),
        group=string("DN of its group, or the filter of a search."),
    )
    return {**found, "type": ["object", "null"]}


def access_schema() -> Schema:
    """The schema of what `who-can -o json` writes."""
    role = object_of(
        "Who comes by this way.",
        name=string("The role."),
        login=flag("Whether it may log in."),
        entry=string("DN of its entry in the directory.", null=True),
        via=list_of(string("A DN."), "Groups of the directory between its group and the entry."),
    )
    way = _way("A way, and everyone who comes by it.", directory=_feed(), roles=list_of(role, "Login roles first."))
    hindered = object_of(
        "Login roles that have the privilege and can still not use it, or not on every row.",
        by=one_of(list(Hindrance), "What hinders."),
        message=string("The same in words."),
        roles=_roles("Whom."),
    )
    security = object_of(
        "Row-level security of the table.", forced=flag("It binds the owner too."), policies=count("How many policies.")
    )
    cluster = object_of(
        "One cluster's answer.",
        cluster=string("Its name."),
        object=string("The object as the server names it."),
        **{"class": _CLASS},
        owner=string("Owner of the object; of a parameter the first superuser."),
        read_at=_TIME,
        connectable=flag("Whether the database accepts connections."),
        row_security={**security, "type": ["object", "null"]},
        notes=list_of(string("In words."), "What its access list does not say, as who needs no privilege."),
        can=_roles("Who has it by itself: what PostgreSQL's own has_..._privilege() functions say."),
        after_set_role=_roles("Who has it only after SET ROLE."),
        on_columns=_roles("Who has it by itself on some columns only."),
        ways=list_of(way, "Every way."),
        hindered=list_of(hindered, "What stands in the way."),
    )
    lacking = object_of(
        "A cluster without such an object.", cluster=string("Its name."), message=string("What is not there.")
    )
    return object_of(
        "Who has a privilege on an object, cluster by cluster, and by which way.",
        format_version=_VERSION,
        privilege=string("In capitals, perhaps WITH GRANT OPTION."),
        object=string("The name that was asked about."),
        complete=flag("Whether every cluster of the scope could be read."),
        clusters=list_of(cluster, "Answers, by cluster."),
        without=list_of(lacking, "Clusters that have the database and not the object."),
        failed=_failed(),
        diagnostics=list_of(string("A finding."), "What directories could not say."),
    )


def role_schema() -> Schema:
    """The schema of what `explain role -o json` writes."""
    database, schema = string("A database.", null=True), string("A schema.", null=True)
    place = {"class": _CLASS, "database": database, "schema": schema}
    names = list_of(string("A name."), "Objects.")
    membership = object_of(
        "One membership.",
        role=string("The group."),
        member=string("Its member: the role itself, or one of its groups."),
        inherit=flag("The group's rights come by themselves."),
        set=flag("The member may SET ROLE."),
        admin=flag("The member may pass the membership on."),
        directory=_feed(),
        entry=string("DN of the member's entry.", null=True),
        via=list_of(string("A DN."), "Groups of the directory in between."),
    )
    privileges: Schema = {
        "type": "object",
        "description": "The plainest way to each privilege.",
        "additionalProperties": _way("A way."),
    }
    right = object_of(
        "Rights on objects of one place.", **place, names=names, total=count("All there are."), privileges=privileges
    )
    profile = object_of(
        "A profile that fits.", database=string("Where."), schema=string("Where."), profile=string("Its name.")
    )
    becomes = object_of("A role it may become.", role=string("Its name."), through=_roles("Memberships on the way."))
    settings: Schema = {
        "type": "object",
        "description": "Values by address.",
        "additionalProperties": {"type": "object"},
    }
    future = object_of(
        "Default privileges that reach it.", address=string("Whose."), privileges=list_of(string("One."), "Which.")
    )
    change = object_of("What is not as declared.", address=string("Of what."), message=string("In words."))
    unread = object_of("A database that was not looked into.", database=string("Its name."), message=string("Why."))
    attributes: Schema = {
        "type": ["object", "null"],
        "description": "Attributes; null where it is not there yet. Nothing about its password.",
        "additionalProperties": {"type": ["string", "boolean", "integer", "null"]},
    }
    account = object_of(
        "The role on one cluster.",
        cluster=string("Its name."),
        read_at=_TIME,
        attributes=attributes,
        declared=string("File and line, or directory and entry; null for nowhere.", null=True),
        memberships=list_of(membership, "Nearest first."),
        owns=list_of(object_of("Objects of one place.", **place, names=names), "What it owns."),
        rights=list_of(right, "What it can do without doing anything; a superuser can do everything besides."),
        profiles=list_of(profile, "The widest profile it has in a schema, on all there is."),
        may_set_role=list_of(becomes, "Roles whose rights it has only after SET ROLE."),
        settings=settings,
        future=list_of(future, "What it will have on objects that are made later."),
        changes=list_of(change, "What a plan would change about it."),
        unread=list_of(unread, "Databases that were not looked into."),
    )
    return object_of(
        "A role, cluster by cluster.",
        format_version=_VERSION,
        role=string("Its name."),
        complete=flag("Whether every cluster of the scope could be read."),
        clusters=list_of(account, "Clusters that know it."),
        failed=_failed(),
    )
