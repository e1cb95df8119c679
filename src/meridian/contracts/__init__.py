"""The Python face of the on-chain rules; the rules themselves are in ``contracts/*.vy``.

Reading order:

- `artefact`: the compiled contracts that ship with the package: ABI and bytecode by name.
- `deployment`: in which order the contracts are deployed, and how their addresses are known before.
- `statements`: what is signed for a contract besides reports and receipts: registrations and transmissions.
- `calldata`: signed things and proofs in the shape of the contracts' arguments.

Reports and receipts are defined where they are made (`meridian.reward.report`, `meridian.measure.receipt`).
"""
