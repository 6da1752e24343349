"""Kinds that live in PostgreSQL. Their SQL stands in their modules; nothing here connects to anything."""
