"""Tests: unit (no I/O), resources (golden cases), integration (real servers)."""
