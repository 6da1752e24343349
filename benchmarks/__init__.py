"""Paired measurements; never a timed test."""
