"""The reconciler's state in SQLite or PostgreSQL: history and what waits. Losing it loses history only."""
