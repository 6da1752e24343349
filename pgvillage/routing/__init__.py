"""The routing API: which node of a cluster is the primary, remembered and refused where there is doubt."""
