"""The web pages: they show what is stored and ask through `Actions`, and may decide nothing about targets."""
