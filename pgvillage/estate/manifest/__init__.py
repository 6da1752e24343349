"""Manifest models (`apiVersion: pgvillage/v1`), one module a kind. Shapes only: no I/O, no live system."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pgvillage.estate.manifest.cluster import Cluster
from pgvillage.estate.manifest.database import Database
from pgvillage.estate.manifest.estate import Estate
from pgvillage.estate.manifest.group import Group
from pgvillage.estate.manifest.job import Job
from pgvillage.estate.manifest.user import User

Document = Estate | Cluster | Database | User | Group | Job
AnyDocument = Annotated[Document, Field(discriminator="kind")]
KINDS: dict[str, type[Document]] = {
    "Estate": Estate,
    "Cluster": Cluster,
    "Database": Database,
    "User": User,
    "Group": Group,
    "Job": Job,
}

__all__ = ["KINDS", "AnyDocument", "Cluster", "Database", "Document", "Estate", "Group", "Job", "User"]
