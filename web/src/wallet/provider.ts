/** Wallets in the browser: EIP-1193 requests, found as EIP-6963 announces them or as `window.ethereum`. */

import type { Network } from "../data/types.ts";

/** What EIP-1193 has of a wallet. */
export interface Provider {
  request(call: { method: string; params?: unknown }): Promise<unknown>;
  on?(event: string, listener: (value: unknown) => void): void;
  removeListener?(event: string, listener: (value: unknown) => void): void;
}

export interface Wallet {
  id: string;
  name: string;
  provider: Provider;
}

/** Why a wallet did not do what it was asked, in words for its user. */
export class WalletError extends Error {}

interface Announced {
  info: { uuid: string; name: string };
  provider: Provider;
}

function isProvider(value: unknown): value is Provider {
  return typeof value === "object" && value !== null && typeof (value as Provider).request === "function";
}

/** Calls back with all wallets, at once and whenever another one announces itself; returns how to stop. */
export function watchWallets(found: (wallets: Wallet[]) => void): () => void {
  const known = new Map<string, Wallet>();
  const tell = () => {
    const own = (window as { ethereum?: unknown }).ethereum;
    const all = [...known.values()];
    if (isProvider(own) && !all.some(({ provider }) => provider === own)) {
      // A wallet that announces itself stands in `window.ethereum` as well, often as another object.
      if (all.length === 0) all.push({ id: "injected", name: "the browser's wallet", provider: own });
    }
    found(all);
  };
  const announced = (event: Event) => {
    const { detail } = event as CustomEvent<Announced | undefined>;
    if (!isProvider(detail?.provider)) return;
    const { uuid, name } = detail.info;
    known.set(uuid, { id: uuid, name: String(name).slice(0, 64), provider: detail.provider });
    tell();
  };
  addEventListener("eip6963:announceProvider", announced);
  addEventListener("ethereum#initialized", tell);
  dispatchEvent(new Event("eip6963:requestProvider"));
  tell();
  return () => {
    removeEventListener("eip6963:announceProvider", announced);
    removeEventListener("ethereum#initialized", tell);
  };
}

interface RpcFault {
  code?: number;
  message?: string;
  data?: unknown;
}

const USER_REFUSED = 4001;
const UNKNOWN_CHAIN = 4902;
const PENDING = -32002;

function faultOf(error: unknown): RpcFault {
  return typeof error === "object" && error !== null ? (error as RpcFault) : { message: String(error) };
}

/** Ask a wallet; whatever goes wrong becomes a `WalletError` with a sentence for its user. */
export async function ask(provider: Provider, method: string, params: unknown[] = []): Promise<unknown> {
  try {
    return await provider.request({ method, params });
  } catch (error) {
    const { code, message } = faultOf(error);
    if (code === USER_REFUSED) throw new WalletError("You declined it in the wallet. Nothing was sent.");
    if (code === PENDING) throw new WalletError("The wallet has an open question already: look at its window.");
    throw new WalletError(`The wallet refused it: ${message ?? "it gave no reason"}`);
  }
}

/** What a call would do now, without sending it: the answer, or the reason why it would fail. */
export async function simulate(provider: Provider, call: object): Promise<{ answer: string } | { refused: string; data: string }> {
  try {
    return { answer: String(await provider.request({ method: "eth_call", params: [call, "latest"] })) };
  } catch (error) {
    const fault = faultOf(error);
    return { refused: fault.message ?? "no reason was given", data: dataOf(fault.data) };
  }
}

/** The bytes of a revert, which wallets nest in different ways. */
function dataOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return "";
  const { data, originalError } = value as { data?: unknown; originalError?: unknown };
  return dataOf(data) || dataOf(originalError);
}

export async function chainOf(provider: Provider): Promise<number> {
  return Number(await ask(provider, "eth_chainId"));
}

/** The account that the user lets the page see; asks for one. */
export async function connect(provider: Provider): Promise<string> {
  const accounts = await ask(provider, "eth_requestAccounts");
  const first: unknown = Array.isArray(accounts) ? accounts[0] : undefined;
  if (typeof first !== "string") throw new WalletError("The wallet shows the page no account.");
  return first;
}

/** Bring a wallet to the network's chain; if it does not know the chain, it is told where the site says it is. */
export async function useChain(provider: Provider, network: Network): Promise<void> {
  if ((await chainOf(provider)) === network.chainId) return;
  const chainId = `0x${network.chainId.toString(16)}`;
  try {
    await provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
  } catch (error) {
    const { code, message } = faultOf(error);
    if (code === USER_REFUSED) throw new WalletError(`The wallet must be on chain ${network.chainId}; you declined to switch it.`);
    if (code !== UNKNOWN_CHAIN || network.rpcUrl === null) {
      throw new WalletError(`Set the wallet to chain ${network.chainId} yourself, then try again (${message ?? "it did not switch"}).`);
    }
    const nativeCurrency = { name: network.coin, symbol: network.coin, decimals: 18 };
    await ask(provider, "wallet_addEthereumChain", [
      { chainId, chainName: `${network.network} (chain ${network.chainId})`, nativeCurrency, rpcUrls: [network.rpcUrl] },
    ]);
  }
  if ((await chainOf(provider)) !== network.chainId) throw new WalletError(`The wallet is not on chain ${network.chainId}.`);
}

export interface Mined {
  hash: string;
  block: number;
  gas: bigint;
  succeeded: boolean;
}

interface Following {
  /** The page was left. */
  stopped: () => boolean;
  /** Whether what was wanted is there all the same: a wallet can send the same again under another hash, to hurry it. */
  reached: () => Promise<boolean>;
  sleep?: (ms: number) => Promise<unknown>;
}

const WAIT_MS = [300, 500, 1000, 1000, 2000];
const TURNS_MAX = 900;
/** So many failures in a row, and the connection is given up; the transaction may be mined all the same. */
const FAILURES_MAX = 15;
const LOOK_ROUND = 5;

/**
 * Follow a transaction: how it stands in a block; "reached" where another one did the same; null if neither is so within
 * half an hour, or the page was left.
 */
export async function follow(provider: Provider, hash: string, following: Following): Promise<Mined | "reached" | null> {
  const sleep = following.sleep ?? ((ms: number) => new Promise((wake) => setTimeout(wake, ms)));
  let failures = 0;
  for (let turn = 0; turn < TURNS_MAX && !following.stopped(); turn++) {
    try {
      const found = (await ask(provider, "eth_getTransactionReceipt", [hash])) as { [key: string]: string } | null;
      if (found?.["blockNumber"]) {
        const { blockNumber, gasUsed, status } = found;
        return { hash, block: Number(blockNumber), gas: BigInt(gasUsed ?? 0), succeeded: Number(status) === 1 };
      }
      if (turn % LOOK_ROUND === LOOK_ROUND - 1 && (await following.reached())) return "reached";
      failures = 0;
    } catch (error) {
      failures += 1;
      if (failures >= FAILURES_MAX) throw error;
    }
    await sleep(WAIT_MS[Math.min(turn, WAIT_MS.length - 1)] as number);
  }
  return null;
}
