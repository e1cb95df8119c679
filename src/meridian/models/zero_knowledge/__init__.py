"""A prototype: proofs about a node's jobs that keep the jobs hidden (docs/explanation/zero-knowledge.md says what they are worth)."""
