"""The application's Python source against the database's schema: read with ast, never imported and never run."""
