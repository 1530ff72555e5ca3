"""Many databases: which ones, in which order, how far a run of them came. Touches no database itself."""
