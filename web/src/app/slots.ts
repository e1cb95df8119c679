/** The checker and the wallet: parts that are fetched when they are shown. */

import type { ComponentType } from "preact";

import type { Claim } from "../data/types.ts";

const parts = import.meta.glob<{ [name: string]: ComponentType<never> }>(["../pages/checker.tsx", "../wallet/claim.tsx", "../wallet/complaint.tsx"]);

function part<P>(path: string, name: string): () => Promise<ComponentType<P>> {
  return async () => {
    const found = (await parts[path]?.())?.[name];
    if (found === undefined) throw new Error("this build has it not");
    return found as ComponentType<P>;
  };
}

export const loadChecker = part<object>("../pages/checker.tsx", "CheckerPage");
export const loadClaimButton = part<{ claim: Claim }>("../wallet/claim.tsx", "ClaimButton");
export const loadComplaintForm = part<{ epoch: number; nodeId: string }>("../wallet/complaint.tsx", "ComplaintForm");
