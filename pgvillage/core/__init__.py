"""The words everything else is made of. Imports nothing of PgVillage and does no I/O."""
