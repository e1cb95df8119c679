"""The views that are worth asking in a state of the model."""

from typing import Any

from contract_world import FIRST
from model.network_rules import NetworkRules

from meridian.primitives.ids import node_key

View = tuple[Any, ...]
"""Contract, function, arguments."""


def all_views(rules: NetworkRules) -> list[View]:
    """Every view with the arguments that matter now: what is known, and one that is not."""
    return [
        *registry_views(rules),
        *commitments_views(rules),
        *evaluations_views(rules),
        *rewards_views(rules),
        *disputes_views(rules),
    ]


def some_epochs(rules: NetworkRules) -> list[int]:
    """The first epoch, the last two that are open, and the next one."""
    following = rules.registry.next_epoch()
    last = range(max(FIRST, following - 2), following + 1)
    return sorted({FIRST - 1, FIRST, *last})


def registry_views(rules: NetworkRules) -> list[View]:
    name = "registry"
    state = rules.registry.state
    accounts = sorted({*state.evaluators, *state.nonces})
    views: list[View] = [(name, "next_epoch"), (name, "active_evaluators")]
    for epoch in some_epochs(rules):
        views += [(name, "epoch_set", epoch), (name, "committee", epoch)]
        views.append((name, "standing", epoch))
        views += [(name, "epoch_start", epoch), (name, "epoch_end", epoch)]
    for account in accounts:
        views += [(name, "evaluator", account), (name, "nonces", account)]
        views.append((name, "is_slashed", account))
        views.append((name, "is_member", len(state.sets), account))
    views += [(name, "node", key) for key in (*state.nodes, node_key("unknown"))]
    views += [(name, "set_size", set_id) for set_id in (0, *state.sets)]
    return views


def commitments_views(rules: NetworkRules) -> list[View]:
    name = "commitments"
    views: list[View] = [(name, "aggregators")]
    accounts = (*rules.parameters.aggregators, rules.parameters.owner)
    for epoch in some_epochs(rules):
        asked = ("epoch_digest", "standing_digest", "standing", "self_commitments", "ready_at")
        views += [(name, function, epoch) for function in asked]
    for account in accounts:
        views += [(name, "next_epoch", account), (name, "aggregator", account)]
        views += [(name, "record", epoch, account) for epoch in some_epochs(rules)]
    return views


def evaluations_views(rules: NetworkRules) -> list[View]:
    name = "evaluations"
    plain = (
        "version_count",
        "last_report",
        "last_epoch",
        "last_total",
        "report_count",
        "term",
        "voiding",
    )
    views: list[View] = [(name, function) for function in plain]
    for epoch in some_epochs(rules):
        asked = ("schedule", "unlocked", "report", "quorum", "terms", "committee_rule")
        views += [(name, function, epoch) for function in asked]
        asked = ("report_hash", "previous_epoch", "unlock_at", "ready_at", "is_abandoned")
        views += [(name, function, epoch) for function in asked]
    return views


def rewards_views(rules: NetworkRules) -> list[View]:
    name = "rewards"
    plain = ("next_to_settle", "funded_through", "total_funded", "total_claimed", "last_total")
    views: list[View] = [(name, function) for function in plain]
    for epoch in some_epochs(rules):
        views += [(name, "budget", epoch), (name, "allotment", epoch)]
        views.append((name, "previous_epoch", epoch))
    paid = rules.rewards.state.paid
    for account in (*rules.rewards.state.nonces, rules.parameters.owner):
        views += [(name, "nonces", account), (name, "delegates", account)]
    views += [(name, "claimed", key) for key in (*paid, node_key("unknown"))]
    return views


def disputes_views(rules: NetworkRules) -> list[View]:
    name = "disputes"
    views: list[View] = [(name, "locked"), (name, "case_count")]
    count = rules.disputes.case_count()
    for case in range(max(0, count - 2), count + 2):
        views += [(name, "cases", case), ("referees", "cases", case)]
    challenges = list(rules.disputes.state.challenges)[-3:]
    views += [(name, "open_challenge", one) for one in (*challenges, bytes(32))]
    views += [("referees", "deposits", one) for one in rules.referees.listed]
    return [*views, ("referees", "busy_until"), ("referees", "quorum")]
