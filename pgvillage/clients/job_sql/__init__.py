"""SQL of jobs: one connection for a run, and a ledger in the run's own database."""
