"""Averages under attack: what f liars of n evaluators can do to the value of one node, drawn many times.

- `draws`: true values, honest evaluators with their noise and their gaps.
- `strategies`: what the liars say when they know everything that the honest ones said.
- `trials`: each method against each strategy: how often outside the honest range, how far, and to whose gain.
- `sleeper`: evaluators that are honest until their reputation is full, then attack.

The averages and the reputation are the product's own (`evaluate.aggregate`, `evaluate.reliability`).
"""
