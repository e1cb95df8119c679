"""Measure: from a node's records to one committed root for each epoch. Pure: bytes, columns and times come as arguments.

Reading order: `schema` (what a network's records hold), `times`, `record` and `explain` (bytes to columns, with a
verdict for every record), `epoch` (the calendar), `admission` (which records are accepted into which epoch),
`columns` (Arrow and Parquet), `row` (100-byte job rows), `forest` and `commitment` (two layers of trees and their
committed root), `manifest` (what is published), `loading` and `verification` (what everybody else does with it),
`proof`, `receipt`, `epoch_log` (the log of all epochs).
"""
