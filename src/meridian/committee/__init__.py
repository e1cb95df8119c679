"""The one place where evaluation meets broadcast; pure.

`observation` turns an epoch's jobs into a row, `rules` tells the protocol which rows are acceptable, `settlement`
turns a decided block into the one report that every correct member signs, and `transmission` says who sends it first.
"""
