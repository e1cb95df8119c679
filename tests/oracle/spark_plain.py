"""SPARK's rules once more, written to be read: one measurement after the other, no columns, no shortcuts.

The oracle of the differential test. It shares no code with `meridian.evaluate.spark`.
"""

import base64
import hashlib
import json
import math
import re
from datetime import UTC, datetime, timedelta

from eth_utils import is_checksum_address, to_checksum_address

ABSENT = object()
BURNER = "0x000000000000000000000000000000000000dEaD"
INDEX_KEYS = ("providerId", "indexerResult", "provider_address", "protocol")
RETRIEVAL_KEYS = (*INDEX_KEYS, "retrievalResult", "byte_length", "carChecksum")


def loads(text):
    """JSON as JavaScript reads it: every number is a double."""
    return json.loads(text, parse_int=float)


def sha256_number(text):
    units = text.encode("utf-16-le", "surrogatepass")
    well_formed = units.decode("utf-16-le", "replace")
    return int.from_bytes(hashlib.sha256(well_formed.encode()).digest(), "big")


def iso_text(ms):
    whole = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=math.trunc(ms))
    return whole.strftime("%Y-%m-%dT%H:%M:%S.").rjust(20, "0") + f"{whole.microsecond // 1000:03d}Z"


def stringify(value):
    """JSON.stringify, for the values that come out of JSON."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return "null" if math.isinf(value) else repr(value + 0.0)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return "[" + ",".join(map(stringify, value)) + "]"
    names = sorted((name for name in value if is_array_index(name)), key=int)
    names += [name for name in value if not is_array_index(name)]
    return "{" + ",".join(f"{json.dumps(name)}:{stringify(value[name])}" for name in names) + "}"


def is_array_index(name):
    return name.isascii() and name.isdigit() and str(int(name)) == name and int(name) < 2**32 - 1


def answer(measurement, keys):
    return stringify({key: measurement[key] for key in keys if key in measurement})


def allowed_tasks(measurements, details, randomness):
    """The tasks of each station."""
    tasks = [
        (sha256_number("\n".join([task["cid"], task["minerId"], randomness])), task)
        for task in details["retrievalTasks"]
    ]
    allowed = {}
    for station_id in {measurement["stationId"] for measurement in measurements}:
        station = sha256_number(station_id)
        closest = sorted(tasks, key=lambda keyed, station=station: station ^ keyed[0])
        places = max(0, int(details["maxTasksPerNode"]))
        allowed[station_id] = [task for _, task in closest[:places]]
    return allowed


def is_task(measurement, tasks):
    return any(
        measurement.get("cid") == task["cid"] and measurement.get("minerId") == task["minerId"]
        for task in tasks
    )


def usable(measurement):
    return (
        isinstance(measurement, dict)
        and isinstance(measurement.get("stationId"), str)
        and isinstance(measurement.get("inet_group"), str)
        and isinstance(measurement.get("finished_at"), float)
    )


def tasking_verdicts(measurements, details, randomness):
    """The first verdict of each, None for those that are not usable; groups are walked in the order of the hashes."""
    verdicts = [None] * len(measurements)
    allowed = allowed_tasks(filter(usable, measurements), details, randomness)
    groups = {}
    for at, measurement in enumerate(measurements):
        if not usable(measurement):
            continue
        if not is_task(measurement, details["retrievalTasks"]):
            verdicts[at] = "TASK_NOT_IN_ROUND"
        elif not is_task(measurement, allowed[measurement["stationId"]]):
            verdicts[at] = "TASK_WRONG_NODE"
        elif abs(measurement["finished_at"]) <= 8.64e15:
            groups.setdefault(measurement["inet_group"], []).append(at)
    for group in groups.values():
        group.sort(
            key=lambda at: hashlib.sha256(
                iso_text(measurements[at]["finished_at"]).encode()
            ).hexdigest()
        )
        seen = set()
        for at in group:
            task = f"{measurements[at]['cid']}::{measurements[at]['minerId']}"
            if task in seen:
                verdicts[at] = "DUP_INET_GROUP"
            elif len(seen) >= details["maxTasksPerNode"]:
                verdicts[at] = "TOO_MANY_TASKS"
            else:
                seen.add(task)
                verdicts[at] = "OK"
    return verdicts


def majority(members, keys):
    """The members that are more than half and say the same, None where there are none."""
    by_answer = {}
    for member in members:
        by_answer.setdefault(answer(member, keys), []).append(member)
    largest = max(by_answer.values(), key=len)
    return largest if len(largest) * 2 > len(members) else None


def committee(members, required):
    """The decision, and the consensus verdict of each member."""
    if len(members) < required:
        too_small = "COMMITTEE_TOO_SMALL"
        return [False, too_small, False, too_small], [too_small] * len(members)
    index = majority(members, INDEX_KEYS)
    retrieval = majority(members, RETRIEVAL_KEYS)
    not_found = "MAJORITY_NOT_FOUND"
    decision = [
        index is not None,
        index[0].get("indexerResult") if index else not_found,
        retrieval is not None,
        retrieval[0].get("retrievalResult") if retrieval else not_found,
    ]
    if retrieval is None:
        return decision, [not_found] * len(members)
    says = answer(retrieval[0], RETRIEVAL_KEYS)
    return decision, [
        "MAJORITY_RESULT" if answer(member, RETRIEVAL_KEYS) == says else "MINORITY_RESULT"
        for member in members
    ]


def scores_of(participants):
    counts = {}
    for participant in participants:
        counts[participant] = counts.get(participant, 0) + 1
    scores = {name: count * 10**15 // len(participants) for name, count in counts.items()}
    rest = 10**15 - sum(scores.values())
    if rest:
        scores[BURNER] = scores.get(BURNER, 0) + rest
    return {name: str(score) for name, score in scores.items()}


def evaluate(line):
    """Evaluate a line that `loads` has read; returns the shape of `expected`."""
    measurements = line["measurements"]
    tasking = tasking_verdicts(measurements, line["round_details"], line["randomness"])
    required = line.get("required_committee_size")
    required = 30 if required is None else required
    by_task = {}
    for at, verdict in enumerate(tasking):
        if verdict == "OK":
            task = measurements[at]["cid"], measurements[at]["minerId"]
            by_task.setdefault(task, []).append(at)
    consensus = [None] * len(measurements)
    decisions = {}
    for task, members in by_task.items():
        decision, verdicts = committee([measurements[at] for at in members], required)
        decisions["::".join(task)] = decision
        for at, verdict in zip(members, verdicts, strict=True):
            consensus[at] = verdict
    paid = [
        measurements[at]["participantAddress"]
        for at, verdict in enumerate(consensus)
        if verdict == "MAJORITY_RESULT"
    ]
    return {
        "verdicts": [list(pair) for pair in zip(tasking, consensus, strict=True)],
        "scores": scores_of(paid),
        "committee_decisions": decisions,
    }


# --- raw records


def date(value):
    """The milliseconds of a date text, None where it is none."""
    try:
        return (datetime.fromisoformat(value) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(
            milliseconds=1
        )
    except (TypeError, ValueError):
        return None


def address(text):
    """A participant's address, None where the text names none."""
    delegated = re.fullmatch("[ft]410f([a-z2-7]{39})", text)
    if delegated:
        data = base64.b32decode(delegated[1].upper() + "=")
        checksum = hashlib.blake2b(b"\x04\x0a" + data[:20], digest_size=4).digest()
        return to_checksum_address(data[:20]) if data[20:] == checksum else None
    if not re.fullmatch("0x[0-9a-fA-F]{40}", text):
        return None
    digits = text[2:]
    alike = digits in (digits.lower(), digits.upper())
    return text if alike or is_checksum_address(text) else None


def retrieval(raw):
    """What a retrieval came to."""
    status = raw["status_code"]
    if raw["indexer_result"] not in ("OK", "HTTP_NOT_ADVERTISED"):
        return "IPNI_" + ("null" if raw["indexer_result"] is None else raw["indexer_result"])
    if raw["timeout"]:
        return "TIMEOUT"
    if raw["car_too_large"]:
        return "CAR_TOO_LARGE"
    if status is None:
        return "UNKNOWN_ERROR"
    if 700 <= status < 800:
        return "UNSUPPORTED_MULTIADDR_FORMAT"
    named = {
        600: "UNKNOWN_FETCH_ERROR",
        801: "HOSTNAME_DNS_ERROR",
        802: "CONNECTION_REFUSED",
        901: "UNSUPPORTED_CID_HASH_ALGO",
        902: "CONTENT_VERIFICATION_FAILED",
        903: "UNEXPECTED_CAR_BLOCK",
        904: "CANNOT_PARSE_CAR_FILE",
    }
    if status in named:
        return named[status]
    if status >= 300:
        return f"HTTP_{status}" if raw["protocol"] == "http" else f"LASSIE_{status}"
    return "OK" if status >= 200 and isinstance(raw["end_at"], str) else "UNKNOWN_ERROR"


def preprocess(raw):
    """A raw record (with all its keys) as a measurement of a line, None where it is dropped."""
    measurement = {
        "cid": raw["cid"],
        "minerId": raw["miner_id"],
        "providerId": raw["provider_id"],
        "stationId": raw["station_id"],
        "participantAddress": address(raw["participant_address"]),
        "inet_group": raw["inet_group"],
        "finished_at": date(raw["finished_at"]),
        "provider_address": raw["provider_address"],
        "protocol": raw["protocol"] and raw["protocol"].lower(),
        "byte_length": raw["byte_length"],
        "indexerResult": raw["indexer_result"],
        "carChecksum": raw["car_checksum"],
        "retrievalResult": retrieval(raw),
    }
    if measurement["participantAddress"] is None or measurement["finished_at"] is None:
        return None
    if not measurement["indexerResult"]:
        return None
    if not re.fullmatch("[0-9a-fA-F]{88}", measurement["stationId"]):
        return None
    if measurement["retrievalResult"] == "OK":
        start, first, end = (date(raw[key]) for key in ("start_at", "first_byte_at", "end_at"))
        if not start or not first or not end or not 0 < start <= first <= end:
            return None
        if (raw["head_status_code"] is not None) != (measurement["protocol"] == "http"):
            return None
    return measurement
