"""Forges' APIs: comments of a merge request and statuses of a commit. A token is in no error and no log."""
