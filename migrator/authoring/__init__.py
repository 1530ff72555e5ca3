"""Writing the next migration: a desired schema compared with the one that is there, drafted, proved, linted."""
