"""Finding faults and proving them: from published artefacts to the arguments of the contracts that judge.

Everything here is pure: it is given what was published and signed, and returns `Accusation` values that say which
function of which contract to call with what. The contracts decide; nothing here is trusted by anybody.

Reading order:

- `accusation`: a commitment as it stands on chain, and what an accusation is.
- `ways`: a row's way to its root, and what stands at a key's place in the order.
- `commitment_faults`: wrong sums, wrong order, data that does not lead to the root.
- `promises`: receipts that were not kept, jobs counted twice, receipts numbered alike.
- `report_faults`: rewards that do not follow from commitment, terms and budget.
- `double_statements`: a member's two statements where one is allowed.
"""
