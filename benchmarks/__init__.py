"""Measurements of the system's hot paths; see README.md. `python -m benchmarks` lists them."""
