"""The versions of the state database, each as a migration of Alembic; no configuration file and no logging."""
