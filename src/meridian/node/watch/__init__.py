"""The watcher: whoever runs it needs nobody's permission, and nobody's honesty but the chain's.

Reading order: `options`, `published` (what an aggregator committed to and published), `reports` (what evaluators reported),
`promises` (what a gateway was promised), `statements` (evidence that evaluators publish against each other), `escalation`
(what arithmetic cannot settle), `court` (accusations become transactions), `docket` (what waits, and what follows from
verdicts) and `watcher` (the loop).
"""
