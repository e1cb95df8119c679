"""The evaluation functions that ship, one module each: `count`, `attestation`, `saturn`, `spark`."""
