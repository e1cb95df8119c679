/**
 * JSON as strictly as the formats need it: a key stands once, integers keep every digit.
 *
 * The browser's own parser takes the last of two equal keys, so a file could say one thing to a reader and another to us.
 */

export type Json = null | boolean | string | bigint | number | Json[] | JsonObject;
export type JsonObject = { [key: string]: Json };

export class JsonError extends Error {}

const DIGITS_MAX = 4300;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORDS: [string, Json][] = [
  ["null", null],
  ["true", true],
  ["false", false],
  // Python's reader takes these, and both must refuse a file for the same reason.
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
];

/** Read a text whose brackets are few; throws `JsonError`. Integers become bigint, other numbers number. */
export function parseJson(text: string): Json {
  const reader = new Reader(text);
  const value = reader.value();
  reader.end();
  return value;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  value(): Json {
    this.space();
    const char = this.text[this.at];
    if (char === "{") return this.object();
    if (char === "[") return this.array();
    if (char === '"') return this.string();
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    const digits = this.match(NUMBER);
    if (digits === null) this.wrong();
    if (!/^-?[0-9]+$/.test(digits)) return Number(digits);
    if (digits.length > DIGITS_MAX) throw new JsonError(`a number has more than ${DIGITS_MAX} digits`);
    return BigInt(digits);
  }

  end(): void {
    this.space();
    if (this.at !== this.text.length) throw new JsonError(`it goes on behind character ${this.at}`);
  }

  private object(): Json {
    const out: JsonObject = Object.create(null);
    let twice = false;
    this.list("}", () => {
      this.space();
      const key = this.string();
      twice ||= key in out;
      this.space();
      if (this.text[this.at] !== ":") this.wrong();
      this.at += 1;
      out[key] = this.value();
    });
    if (twice) throw new JsonError("a key stands twice");
    return out;
  }

  private array(): Json {
    const out: Json[] = [];
    this.list("]", () => out.push(this.value()));
    return out;
  }

  private list(end: string, item: () => void): void {
    this.at += 1;
    this.space();
    if (this.text[this.at] === end) {
      this.at += 1;
      return;
    }
    for (;;) {
      item();
      this.space();
      const char = this.text[this.at];
      if (char !== end && char !== ",") this.wrong();
      this.at += 1;
      if (char === end) return;
    }
  }

  private string(): string {
    const found = this.match(STRING);
    if (found === null) this.wrong();
    return JSON.parse(found) as string;
  }

  private wrong(): never {
    throw new JsonError(`something else was expected at character ${this.at}`);
  }

  private space(): void {
    this.match(SPACE);
  }

  private match(pattern: RegExp): string | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) return null;
    this.at += found[0].length;
    return found[0];
  }
}
