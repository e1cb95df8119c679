/** What verdicts mean to a node's operator. The names are those of the evaluation functions and fraud layers. */

const REASONS: { [reason: string]: string } = {
  ok: "Counted.",
  no_ttfb: "Served, but nobody measured when the first byte came: its bytes count, its speed does not.",
  slow_ttfb: "Served, but the first byte came too late: its bytes count, its speed does not.",
  slow_duration: "Served, but it took too long: its bytes count, its speed does not.",
  error: "The answer was an error.",
  impossible: "The record says what cannot be, such as a negative size or time.",
  flagged: "The node was flagged for this epoch, so none of its jobs counts.",
  missed: "The duty was not done.",
  missing: "There is no reading.",
  unsuccessful: "The job did not succeed.",
  no_chain: "It succeeded, but brings no chain of signatures that shows it.",
  malformed: "Its chain of signatures cannot be read.",
  another_epoch: "Its chain of signatures is of another epoch.",
  forged_task: "The orchestrator's signature on the task is wrong.",
  forged_request: "The node's own signature on the request is wrong.",
  unknown_provider: "The storage provider is not in this epoch's list.",
  forged_answer: "The provider's signature on the answer is wrong.",
  spliced: "The links of its chain of signatures do not belong together.",
  out_of_time: "The times in its chain are not in order, or outside the task's.",
  self_dealt: "One party signed two of the roles.",
  not_recorded: "The provider has no record of it.",
  contradicts_record: "The record says something else than what was signed.",
  replayed: "The same chain of signatures was used before.",
  undisclosed: "A fraud model with sealed reasons looked at it, and what it found is not public. The node can ask for a proof of its own reasons.",
  TASK_NOT_IN_ROUND: "The task is none of this round's.",
  TASK_WRONG_NODE: "The task was given to other nodes.",
  DUP_INET_GROUP: "Another measurement from the same subnet already counts for this task.",
  TOO_MANY_TASKS: "The subnet did more tasks than a round allows.",
  COMMITTEE_TOO_SMALL: "Too few measured the same task to compare their results.",
  MAJORITY_NOT_FOUND: "Those who measured the same task did not agree on a result.",
  MINORITY_RESULT: "Most of those who measured the same task got another result.",
  INVALID_ADDRESS: "No valid address of a participant.",
  INVALID_INDEXER_RESULT: "Nothing is said of the index.",
  INVALID_STATION: "The station's id is none.",
  INVALID_TIMES: "Times are missing or out of order.",
  INVALID_HEAD_STATUS: "The status of the HEAD request is missing, or should not be there.",
};

const LAYERS: { [layer: string]: string } = {
  "bot-bytes": "The client takes far more bytes than any usual one.",
  "bot-requests": "The client sends far more requests than any usual one.",
  "doctored-content": "The content is requested far more often than others, as if made to be requested.",
  "doctored-referrer": "The referrer appears far more often than others, as if made for it.",
  "fast-requests": "Its bytes came faster than any link of the network carries.",
  "high-bandwidth": "The node claims far more bytes than its peers.",
  "high-requests": "The node claims far more requests than its peers.",
  "self-requests": "The node requested from itself.",
  "single-client-bytes": "Nearly all of the node's bytes went to one client.",
  "single-client-requests": "Nearly all of the node's requests came from one client.",
};

/** One sentence; for a name that is not known here, that it is the network's own. Layers are named `layer: reason`. */
export function meaning(reason: string): string {
  const [layer = ""] = reason.split(": ", 1);
  return REASONS[reason] ?? LAYERS[layer] ?? "A reason of this network's own function.";
}

/** As a reader's word: `slow_ttfb` is `slow ttfb`; the counted verdict is `counted`. */
export function reasonName(reason: string): string {
  return reason === "ok" ? "counted" : reason.replaceAll("_", " ").toLowerCase();
}
