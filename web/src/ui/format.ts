/** Numbers, amounts, times and digests as text. Nothing here rounds what is shown in full. */

const COIN = 10n ** 18n;
const TINY = 10n ** 9n;
const DECIMALS = 4;

export function count(value: number | bigint): string {
  return value.toLocaleString("en");
}

/** All digits of an amount of atto, in coins: `12.000000000000000345`. */
export function exactCoins(atto: bigint): string {
  const sign = atto < 0n ? "-" : "";
  const size = atto < 0n ? -atto : atto;
  const rest = (size % COIN).toString().padStart(18, "0").replace(/0+$/, "");
  return `${sign}${count(size / COIN)}${rest === "" ? "" : `.${rest}`}`;
}

/** An amount for reading: so many decimals; what is below a billionth of a coin is given in atto. */
export function shortCoins(atto: bigint, decimals = DECIMALS): { text: string; unit: "coin" | "atto" } {
  if (atto === 0n) return { text: "0", unit: "coin" };
  const sign = atto < 0n ? "-" : "";
  const size = atto < 0n ? -atto : atto;
  if (size < TINY) return { text: `${sign}${count(size)}`, unit: "atto" };
  const parts = 10n ** BigInt(decimals);
  const step = COIN / parts;
  if (size < step) {
    const digits = size.toString().padStart(18, "0");
    return { text: `${sign}0.${digits.slice(0, digits.search(/[1-9]/) + 3).replace(/0+$/, "")}`, unit: "coin" };
  }
  const rounded = (size + step / 2n) / step;
  return { text: `${sign}${count(rounded / parts)}.${(rounded % parts).toString().padStart(decimals, "0")}`, unit: "coin" };
}

/** A number of coins for a plot, where rounding is of no matter. */
export function coinsForPlot(atto: bigint): number {
  return Number(atto / 10n ** 9n) / 1e9;
}

/** Millionths as per cent. */
export function percent(ppm: number): string {
  return `${(ppm / 10_000).toFixed(ppm === 1_000_000 || ppm === 0 ? 0 : 2)} %`;
}

/** A proportion in units of 10^-18 as per cent, four decimals. */
export function share(proportion: bigint): string {
  const rounded = (proportion + 5n * 10n ** 11n) / 10n ** 12n;
  return `${rounded / 10_000n}.${(rounded % 10_000n).toString().padStart(4, "0")} %`;
}

const LONG = 10n ** 15n;

/** A weight for a table: whole while it is short, else five digits and the power of ten. */
export function shortWeight(weight: bigint): string {
  if (weight < LONG) return count(weight);
  const digits = weight.toString();
  return `${digits[0]}.${digits.slice(1, 5)}×10^${digits.length - 1}`;
}

/** `2026-11-26 08:10:03`, in UTC. */
export function dateTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
}

const UNITS: [number, string][] = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** A span in its two largest units: `2 h 5 min`. */
export function span(seconds: number): string {
  let rest = Math.max(0, Math.round(seconds));
  const parts: string[] = [];
  for (const [size, name] of UNITS) {
    const many = Math.floor(rest / size);
    rest -= many * size;
    if (many > 0) parts.push(`${many} ${name}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || "0 s";
}

export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

const NAME_MAX = 28;

/** A node or job id for a table: whole while it is short, else its ends. */
export function shortName(name: string): string {
  return name.length <= NAME_MAX ? name : `${name.slice(0, 14)}…${name.slice(-10)}`;
}

/** The two ends of a digest, an address or a CID. */
export function shortHex(value: string): string {
  const head = value.startsWith("0x") ? 6 : 8;
  return value.length <= head + 7 ? value : `${value.slice(0, head)}…${value.slice(-6)}`;
}

export function plural(many: number | bigint, one: string, more = `${one}s`): string {
  return `${count(many)} ${many === 1 || many === 1n ? one : more}`;
}
