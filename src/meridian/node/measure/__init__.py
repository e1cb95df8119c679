"""The measure service: admits job records, seals epochs, publishes and commits them.

Reading order: `config`, `job_log` (bytes that survive a crash) and `frames` (what they say), `journal` (the log and all
that follows from it), `nodes` (who is registered), `intake` (the one thread that admits), `publication`, `seal`,
`ledger` (the commitment on chain), `settling` (the thread that seals, publishes and commits), `http` and `openapi`,
`service` (the process), `client`.

What was acknowledged is in the log; everything else can be made again from the log, the registry and the chain.
"""
