"""The watcher: whoever runs it needs nobody's permission, and nobody's honesty but the chain's.

Reading order: `options`, `published` (what an aggregator committed to and published), `reports` (what evaluators reported),
`promises` (what a gateway was promised), `statements` (evidence that evaluators publish against each other), `court`
(accusations become transactions) and `watcher` (the loop).
"""
