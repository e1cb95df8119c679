"""The outsider who verifies: from public artefacts and the chain's plain values to a chain of evidence. Pure.

Reading order: `source` (what an auditor is given), `evidence` (links, their states, and how one broken link stops what
depends on it), `objects` (copies of published artefacts), then the links in their order: `deployment` (contracts),
`measured` (commitment to epoch log), `evaluated` (function to evaluation), `agreed` (rows, block, certificate),
`rewarded` (aggregation to contract), `paid` (claims and the result), and `epoch`, which runs them all. Beside them:
`proofs` and `proof_building` (files about one job, one node, an absence or one claim, checked step by step) and `node_account` (what became of one node in one epoch).
"""
