"""Measure: from a node's records to one committed root for each epoch. Pure: bytes, columns and times come as arguments.

Reading order: `schema` (what a network's records hold), `strings` and `times`, `nesting`, `record` and `explain` (bytes
to columns, with a verdict for every record; compiled: `record_scan`, `record_kernel`, `json_kernel`), `batch_decode`
(bodies of every form), `ipc_limits`, `parquet_limits`, `arrow_batch` and `arrow_columns` (the same from columns),
`epoch` (the calendar), `admission` (which records are accepted into which epoch), `columns` (Arrow and Parquet), `row` (100-byte job rows), `order`, `forest` and `commitment` (two layers of trees
and their committed root; loading and verifying a published epoch), `manifest` (what is published), `receipt`,
`epoch_log` (the log of all epochs), `stored_tree` (paths without building a tree), `proof` and `proof_form`.
"""
