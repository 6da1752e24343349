"""Patroni's kinds. Nothing here talks to etcd or to a member: what was read comes in, steps go out."""
