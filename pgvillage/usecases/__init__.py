"""What PgVillage does for people: validate, plan, apply, drift, explain. Clients come in as a World."""
