"""Scripted stories with real processes: somebody lies, a watcher finds and proves it, and the honest result is paid.

Reading order: `story` (what is told and what must hold), `jobs` (a small network's work), `cast` (who plays), `stage` (the network),
`lying_evaluator` and `lying_aggregator` (the villains, as processes), `money` (that none is lost), and one module for each
kind of story: `committee_stories`, `aggregator_stories`, `framing`; `catalogue` names them all.
"""
