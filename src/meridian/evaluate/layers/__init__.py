"""The fraud layers that ship, one definition (TOML with SQL) each: the heuristics that Saturn published."""
