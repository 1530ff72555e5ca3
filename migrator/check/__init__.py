"""What a database is, held against its ledger and the declarations: for flows.check and flows.verify. Only reads."""
