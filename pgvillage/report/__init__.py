"""Renders stored plans and runs as text, JSON, Markdown and chat. Decides and computes nothing; meets no client."""
