"""Patroni: its members' REST API, and what it keeps in etcd."""
