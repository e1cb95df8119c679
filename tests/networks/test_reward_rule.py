"""A contract may recompute a weight only where the committed annotation is all that the function reads."""

from dataclasses import replace

from meridian.networks import attestation, saturn, worldcup


def test_only_the_plain_count_is_recomputed_on_chain() -> None:
    assert worldcup.DEFINITION.reward_rule == 1
    narrowed = {"success": {"field": "status code", "allowed": [200]}}
    assert replace(worldcup.DEFINITION, function_parameters=narrowed).reward_rule == 0
    assert saturn.DEFINITION.reward_rule == 0
    assert attestation.DEFINITION.reward_rule == 0
