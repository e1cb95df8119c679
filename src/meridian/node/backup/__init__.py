"""Backups of a process's directory, taken while it runs, and restored so that nothing is signed twice."""
