/** The wallets that are there, and which of them is used. */

import { useEffect, useState } from "preact/hooks";

import { watchWallets, type Wallet } from "./provider.ts";

export function useWallets(): { wallets: Wallet[]; wallet: Wallet | null; choose: (id: string) => void } {
  const [wallets, setWallets] = useState<Wallet[]>([]);
  const [chosen, setChosen] = useState<string | null>(null);
  useEffect(() => watchWallets(setWallets), []);
  return { wallets, wallet: wallets.find(({ id }) => id === chosen) ?? wallets[0] ?? null, choose: setChosen };
}

/** Lets the reader choose where there are several. */
export function WalletChoice({ wallets, wallet, choose }: ReturnType<typeof useWallets>) {
  if (wallets.length < 2) return null;
  return (
    <label>
      Wallet
      <select value={wallet?.id} onChange={(event) => choose(event.currentTarget.value)}>
        {wallets.map(({ id, name }) => (
          <option key={id} value={id}>{name}</option>
        ))}
      </select>
    </label>
  );
}
