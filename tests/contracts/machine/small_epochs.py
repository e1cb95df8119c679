"""Small published epochs with real trees: honest ones, and one for each way to lie about them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from contract_world import FIRST, account
from disputes_world import CALENDAR
from machine.actors import NODES, PAYEES
from published_epochs import (
    LANES,
    from_rows,
    inflated_job_tree,
    inflated_node_tree,
    job_row,
    matrix,
    node_row,
    published,
    tree_hash,
)

from meridian.disputes.accusation import Accusation
from meridian.disputes.commitment_faults import PublishedEpoch, find_faults
from meridian.disputes.promises import SortedEpoch
from meridian.measure.commitment import job_tree
from meridian.primitives.ids import Address, node_key

PROMISED = NODES[2]
"""Whose second job stands in every honest epoch."""

HONEST = ("plain", "more")
PROVABLE = ("sum", "job sum", "order", "job order", "other epoch")
FALSE = (*PROVABLE, "hidden")
"""What anybody who reads the rows sees; a hidden row can only be asked for."""
UNSEEN = ("omits", "twice")
"""What is wrong only beside a receipt, or beside another epoch."""


@dataclass(frozen=True)
class Made:
    """A commitment as its aggregator posts it, and the rows that it shows."""

    variant: str
    shown: PublishedEpoch
    hashed: bytes

    @property
    def content(self) -> tuple[bytes, int, bytes, bytes]:
        """Hash of the tree, number of nodes, annotation, manifest."""
        c = self.shown.commitment
        return self.hashed, c.n_nodes, c.annotation, c.manifest

    @property
    def words(self) -> tuple[int, Address, bytes, int, bytes, bytes]:
        return self.shown.commitment.words

    @property
    def is_readable(self) -> bool:
        """Whether rows can be looked up in it."""
        return self.variant not in FALSE


def payee_of(name: str) -> Address:
    return account(PAYEES[NODES.index(name)])


def jobs_of(epoch: int, variant: str) -> dict[str, list[bytes]]:
    """Of the first four nodes one, two, three and one jobs; the fifth has none, or one if there is more."""
    start_us = CALENDAR.start_us(epoch)
    jobs = {
        name: [
            job_row(f"{epoch} {name} {k}", start_us + (k + 10) * 10**6, (7 + k, 9 + i))
            for k in range(i % 3 + 1)
        ]
        for i, name in enumerate(NODES[:4])
    }
    if variant in {"more", "hidden"}:
        jobs[NODES[4]] = [job_row(f"{epoch} more", start_us + 10**6)]
    if variant == "omits":
        del jobs[PROMISED][1]
    if variant == "twice" and epoch > FIRST:
        jobs[NODES[1]].append(jobs_of(epoch - 1, "plain")[NODES[1]][0])
    return jobs


@lru_cache(maxsize=4096)
def small_epoch(epoch: int, by: Address, variant: str) -> Made:
    """What an aggregator commits to in an epoch."""
    whole = published(epoch, jobs_of(epoch, variant), by, payee_of)
    hashed = b""
    if variant == "sum":
        whole, hashed = inflated_node_tree(whole, 1, 0, 5)
    elif variant == "job sum":
        place = [len(rows) for rows in whole.job_rows].index(3)
        whole = inflated_job_tree(whole, place, 1, 0, 5)
    elif variant == "order":
        order = [1, 0, 2, 3]
        tables = tuple(whole.job_rows[at] for at in order)
        whole = from_rows(epoch, whole.node_rows[order], tables, by)
    elif variant in {"job order", "other epoch"}:
        whole = retold(whole, epoch, by, variant)
    elif variant == "hidden":
        plain = published(epoch, jobs_of(epoch, "plain"), by, payee_of)
        shown = PublishedEpoch(whole.commitment, plain.node_rows, plain.job_rows, LANES)
        return Made(variant, shown, tree_hash(whole))
    return Made(variant, whole, hashed or tree_hash(whole))


def retold(whole: PublishedEpoch, epoch: int, by: Address, variant: str) -> PublishedEpoch:
    """The same epoch with jobs in disorder, or with a row that says another epoch."""
    tables = list(whole.job_rows)
    rows = [row.tobytes() for row in whole.node_rows]
    place = [len(table) for table in tables].index(3)
    if variant == "job order":
        tables[place] = tables[place][np.array([0, 2, 1])]
    told = epoch + (variant == "other epoch")
    row = rows[place]
    rows[place] = node_row(told, row[8:40], row[40:60], job_tree(tables[place], LANES).root)
    return from_rows(epoch, matrix(rows, 116), tuple(tables), by)


@lru_cache(maxsize=4096)
def faults_of(epoch: int, by: Address, variant: str) -> tuple[Accusation, ...]:
    """What the rows alone prove, or give reason to ask for."""
    return tuple(find_faults(small_epoch(epoch, by, variant).shown))


@lru_cache(maxsize=4096)
def sorted_epoch(epoch: int, by: Address, variant: str) -> SortedEpoch:
    """A readable epoch in which rows are looked up."""
    return SortedEpoch(small_epoch(epoch, by, variant).shown)


def promised_row(epoch: int) -> bytes:
    return jobs_of(epoch, "plain")[PROMISED][1]


PROMISED_KEY = node_key(PROMISED)
