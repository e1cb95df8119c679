"""Compiled kernels for bulk work: SHA-256 of many messages at once, sum-tree levels, byte columns, a table of hashes.

Nothing here is imported by small processes: `hashing.prepare` loads it.
"""
