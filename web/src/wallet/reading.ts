/** What the wallet's chain says, by `eth_call`: the page believes the chain of the reader's own wallet, not the site's. */

import type { Network } from "../data/types.ts";
import { type Bytes, hex, toUint } from "../verifier/bytes.ts";
import { aggregatorCall, claimedCall, type Committed, contractOf, isCommitmentCall, reportCall, revertReason, words } from "./calls.ts";
import { chainOf, type Provider, simulate, WalletError } from "./provider.ts";

/** Address of one of the network's contracts, as the site gives it. */
export function placeOf(network: Network, name: string): string {
  const found = contractOf(network.contracts, name);
  if (found === null) throw new WalletError(`The site does not say where the contract ${name} is.`);
  return found;
}

async function read(provider: Provider, network: Network, contract: string, data: string, number: number): Promise<Bytes[]> {
  const chain = await chainOf(provider);
  if (chain !== network.chainId) {
    throw new WalletError(`The wallet is on chain ${chain}, the network on chain ${network.chainId}: switch the wallet first.`);
  }
  const result = await simulate(provider, { to: placeOf(network, contract), data });
  if ("refused" in result) throw new WalletError(`The chain refused the question: ${revertReason(result.data, result.refused)}`);
  const found = words(result.answer);
  if (found === null || found.length < number) throw new WalletError(`On the wallet's chain there is no contract ${contract} at this address.`);
  return found;
}

/** What a node has had so far. */
export async function readClaimed(provider: Provider, network: Network, nodeKey: string): Promise<bigint> {
  const [amount] = await read(provider, network, "rewards", claimedCall(nodeKey), 1);
  return toUint(amount as Bytes);
}

export interface ChainReport {
  rewardRoot: string;
  total: bigint;
  unlockAtS: number;
}

/** The accepted report of an epoch; null: there is none. */
export async function readReport(provider: Provider, network: Network, epoch: bigint): Promise<ChainReport | null> {
  const [hash, root, total, unlock] = (await read(provider, network, "evaluations", reportCall(epoch), 5)) as [Bytes, Bytes, Bytes, Bytes];
  if (toUint(hash) === 0n) return null;
  return { rewardRoot: hex(root), total: toUint(total), unlockAtS: Number(toUint(unlock)) };
}

/** Whether an account is an aggregator: active, or one that has left; false: it never was, or was slashed. */
export async function readIsAggregator(provider: Provider, network: Network, account: string): Promise<boolean> {
  const found = await read(provider, network, "commitments", aggregatorCall(account), 4);
  const [active, stake, exit, slashed] = found.map(toUint) as [bigint, bigint, bigint, bigint];
  return slashed === 0n && (active === 1n || stake > 0n || exit > 0n);
}

/** Whether a commitment says exactly this on chain and is not void. */
export async function readIsCommitment(provider: Provider, network: Network, committed: Committed): Promise<boolean> {
  const [answer] = await read(provider, network, "commitments", isCommitmentCall(committed), 1);
  return toUint(answer as Bytes) === 1n;
}
