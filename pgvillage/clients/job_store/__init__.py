"""Where runs of jobs are noted and claimed: the state database, or etcd where replicas share the estate by it."""
