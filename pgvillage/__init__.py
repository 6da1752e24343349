"""PgVillage: a declarative GitOps reconciler for PostgreSQL estates."""

__version__ = "0.1.0"
