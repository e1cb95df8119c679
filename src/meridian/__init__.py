"""Meridian: pay the nodes of an off-chain network for work that anyone can check.

Three steps, three packages, in reading order: ``measure`` (jobs become a commitment), ``evaluate`` (a commitment
becomes weights) and ``reward`` (weights become claims). ``ephemera`` lets independent evaluators agree, ``audit`` lets
anyone check, ``node`` does the input and output. ``docs/ARCHITECTURE.md`` follows one record through all of it.
"""

__version__ = "0.1.0"
