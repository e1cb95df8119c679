"""SPARK's fraud detection, to the verdict of the reference programme (spark-evaluate).

In reading order:

- `verdicts`: the codes, and which pair of verdicts of the original each one stands for.
- `tasking`: which tasks a station may do: the closest ones by XOR distance, given the round's randomness.
- `inet_groups`: of each subnet, one measurement a task and at most so many tasks.
- `committees`: what a strict majority of those who did a task says.
- `rounds`: the three steps one behind the other, over columns of integers.
- `scores`: shares of the scale 10^15, the remainder to the burner.
- `javascript`: what JSON values mean to the original: its numbers, texts, instants and comparisons.
- `round_lines`: rounds of JSON lines, as the reference programme's vectors have them.
- `preprocess`: the fields of raw records: addresses, dates, retrieval results, and why a record is dropped.
- `job_columns`: sealed jobs turned into the columns of a round.

Source: CheckerNetwork/spark-evaluate, commit 0b13688.
"""
