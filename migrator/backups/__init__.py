"""The backups of a database over time: which there are, which go, and copies off the machine."""
