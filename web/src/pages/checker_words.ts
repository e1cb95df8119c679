/** What the steps of a check mean, and what a check cannot tell, in plain words. */

import type { ProofFile } from "../verifier/document.ts";
import type { Step } from "../verifier/steps.ts";

interface Words {
  /** What the step is for. */
  means: string;
  /** Why it can fail. */
  fails: string;
}

const CHANGED = "A row, a place or a hash before this step was changed, or belongs to something else.";

const WORDS: [RegExp, Words][] = [
  [/^document$/, { means: "The file has the form of a proof.", fails: "This is no proof: nothing after it can be checked." }],
  [/^row$/, { means: "The row has its form.", fails: "A row is of the wrong kind." }],
  [/^job key$/, { means: "The row is this job's: the key in it is the SHA-256 of the job's id.", fails: "The row is another job's." }],
  [/^node key$/, { means: "The row is this node's: the key in it is the SHA-256 of the node's id.", fails: "The row is another node's." }],
  [/job leaf$/, { means: "The job's row is hashed: this is where the way up begins.", fails: "" }],
  [/node leaf$/, { means: "The node's row is hashed. It holds the root of the node's jobs, and its payee.", fails: "" }],
  [
    /tree, level \d+$|^(old )?log, level \d+$/,
    {
      means: "The hash so far and its neighbour make the hash above. Counts and sums are added, so that none can be left out.",
      fails: "",
    },
  ],
  [/job count$/, { means: "The tree counts as many jobs as the proof says there are.", fails: "The proof says another number of jobs than the tree holds." }],
  [/job tree root$/, { means: "The way up ends at the root in the node's row.", fails: `The way up does not end at the root in the node's row. ${CHANGED}` }],
  [/epoch$/, { means: "The row is of the epoch that is asked about.", fails: "The row is of another epoch." }],
  [/committed root$/, { means: "Epoch, number of nodes and the tree's root make the root that stands on chain.", fails: "" }],
  [/^(left |right )?root$/, { means: "The way up ends at the root that the file names.", fails: `The way up ends at another root than the file names. ${CHANGED}` }],
  [/^your root$/, { means: "The root is the one that you gave.", fails: "The proof leads to another root than the one that you gave: it proves nothing about that one." }],
  [/tree$/, { means: "The path fits the tree.", fails: "The path does not fit a tree of this size: a place, a size or a node of the path is wrong." }],
  [/^left key$/, { means: "The row before has a lower key.", fails: "The row before does not have a lower key: there is no gap here." }],
  [/^right key$/, { means: "The row after has a higher key.", fails: "The row after does not have a higher key: there is no gap here." }],
  [/^neighbours$/, { means: "Nothing stands between the two rows.", fails: "There is room for another row between these two." }],
  [/^no jobs$/, { means: "The node has no jobs at all.", fails: "The node has jobs, so the rows beside the missing one are needed." }],
  [/^claim leaf$/, { means: "Node, payee and amount are hashed: this is where the way up begins.", fails: "" }],
  [/^claim count$/, { means: "The tree counts as many claims as the proof says there are.", fails: "The proof says another number of claims than the tree holds." }],
  [/^total$/, { means: "All claims add up to the total of the report.", fails: "The claims do not add up to the total that the file names." }],
  [/^reward root$/, { means: "The number of claims and the tree's root make the reward root of the report.", fails: "" }],
  [/^entry$/, { means: "The entry is that of an epoch.", fails: "The entry is of another kind." }],
  [/^network$/, { means: "It is of this network.", fails: "It is of another network." }],
  [/^log leaf$/, { means: "The entry is hashed: this is where the way up begins.", fails: "" }],
  [/^sizes$/, { means: "The older log is the smaller one.", fails: "The sizes cannot be those of an older and a newer log." }],
  [/^path$/, { means: "Two equal logs need no path.", fails: "Two equal logs need no path, but there is one." }],
  [/^depth$/, { means: "The path ends at the root.", fails: "The path ends before the root." }],
  [/^old root$/, { means: "The path leads to the older root.", fails: "The path leads to another older root: the log was rewritten, or the path is wrong." }],
  [/^chain id$/, { means: "It was signed for this network's chain.", fails: "It was signed for another chain." }],
  [/^contract$/, { means: "It was signed for this network's contract.", fails: "It was signed for another contract." }],
  [/^receipt$/, { means: "The words of the promise are hashed as EIP-712 says.", fails: "" }],
  [/^domain$/, { means: "Contract and chain are hashed, so that the promise is good for this network alone.", fails: "" }],
  [/^digest$/, { means: "This is what was signed.", fails: "" }],
  [/^signature$/, { means: "The bytes are a signature.", fails: "The bytes are no signature." }],
  [
    /^signer$/,
    {
      means: "The account that follows from digest and signature is the aggregator.",
      fails: "Another account signed it, or a word of the receipt was changed after it was signed.",
    },
  ],
];

/** A step in plain words: what it is for, or why it fails. */
export function explain({ name, ok }: Step): string {
  const words = WORDS.find(([pattern]) => pattern.test(name))?.[1];
  if (words === undefined) return "";
  return ok ? words.means : words.fails || words.means;
}

/** What nobody knows after a check of this kind. */
export function notChecked(proof: ProofFile | "receipt"): string[] {
  if (proof === "receipt") {
    return [
      "Whether the promise was kept: a job of the batch must stand in an epoch up to the deadline. Search for its id, or use meridian receipt check.",
      "Which jobs are in the batch: that needs the jobs as they were sent.",
      "Whether the service was right to refuse the records that it did not accept.",
    ];
  }
  const { kind } = proof;
  if (kind === "log_consistency") return ["That the aggregator signed these roots: its checkpoints show it.", "What the entries say."];
  if (kind === "log_inclusion") return ["That the aggregator signed the log's root: its checkpoint shows it."];
  if (kind === "claim") {
    return [
      "That the amount is right: it follows from all jobs by the network's function, which meridian verify computes anew.",
      "The epoch in the file: it is hashed nowhere. The root is compared with the report of that epoch.",
      "What has been paid of it already: the chain says.",
    ];
  }
  const found = ["That the work was done: the proof shows what was committed, not that it is true."];
  if (kind === "job") found.push("The verdict on the job, and what it earned: evaluators decide that after the commitment.");
  if (kind === "node") found.push("What the node earned for these jobs: its claim has a proof of its own.");
  if (kind.startsWith("absent")) found.push("Commitments of other aggregators: what one lacks, another may have.");
  found.push("The network's name in the file: it is hashed nowhere. The root is compared with this network's.");
  return found;
}

export const KIND_NAMES: { [kind in ProofFile["kind"]]: string } = {
  job: "A job is in an epoch",
  node: "All that a node has in an epoch",
  absent_job: "A job is not in an epoch",
  absent_node: "A node has nothing in an epoch",
  claim: "What a node has earned",
  log_inclusion: "An epoch is in the epoch log",
  log_consistency: "The epoch log only grew",
};
