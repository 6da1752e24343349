"""Other tools' configuration read into manifests: one module a format. Pure; asks no server and adopts nothing."""
