"""Ephemera: how the registered evaluators of an epoch come to one block of rows, and sign one report.

Mode *quorum*: signed Bracha, which is single-shot PBFT with an inclusion rule. Reading order:

1. `context`: domain, network, epoch, members; what a signature is about; message kinds.
2. `limits`: every bound and every waiting time.
3. `block`: block, certificate, the inclusion rule; offline verification.
4. `message`: the frames, byte by byte.
5. `evidence`: proofs of misbehaviour, verifiable offline.
6. `effects`: what the replica asks its driver to do.
7. `application`: the one question to the application.
8. `ledger`, `retrieval`, `pacemaker`, `attestation`, `journal`: the parts of one epoch's machine:
   first statements, bodies, views, report signatures, durable records.
9. `agreement`: the machine of one epoch.
10. `replica`: all open epochs behind one face.
"""
