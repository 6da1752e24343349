"""The estate as written: manifests, their loader and their schemas. Knows no live system."""
