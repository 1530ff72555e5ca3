"""Whether a live database is well, with a history of its own: for flows.verify. Only reads."""
