"""Who can do what, by which way: PostgreSQL's own rules, pure, over what one look at a server found."""
