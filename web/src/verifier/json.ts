/**
 * JSON as strictly as the formats need it: a key stands once, integers keep every digit, nothing is nested without bound.
 *
 * The browser's own parser takes the last of two equal keys, so a file could say one thing to a reader and another to us.
 */

export type Json = null | boolean | string | bigint | number | Json[] | { [key: string]: Json };

export class JsonError extends Error {}

const DEPTH_MAX = 16;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;

export function parseJson(text: string): Json {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  value(depth: number): Json {
    if (depth > DEPTH_MAX) throw new JsonError("it is nested too deeply");
    this.space();
    const char = this.text[this.at];
    if (char === "{") return this.object(depth);
    if (char === "[") return this.array(depth);
    if (char === '"') return this.string();
    for (const [word, value] of [["null", null], ["true", true], ["false", false]] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    const digits = this.match(NUMBER);
    if (digits === null) throw new JsonError(`it is not JSON at character ${this.at}`);
    return /^-?[0-9]+$/.test(digits) ? BigInt(digits) : Number(digits);
  }

  end(): void {
    this.space();
    if (this.at !== this.text.length) throw new JsonError(`it goes on behind character ${this.at}`);
  }

  private object(depth: number): Json {
    const out: { [key: string]: Json } = Object.create(null);
    this.list("}", () => {
      this.space();
      const key = this.string();
      if (key in out) throw new JsonError(`the key ${JSON.stringify(key)} stands twice`);
      this.expect(":");
      out[key] = this.value(depth + 1);
    });
    return out;
  }

  private array(depth: number): Json {
    const out: Json[] = [];
    this.list("]", () => out.push(this.value(depth + 1)));
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
      this.at += 1;
      if (char === end) return;
      if (char !== ",") throw new JsonError(`it is not JSON at character ${this.at - 1}`);
    }
  }

  private string(): string {
    const quoted = this.match(STRING);
    if (quoted === null) throw new JsonError(`it is not JSON at character ${this.at}`);
    return JSON.parse(quoted) as string;
  }

  private expect(char: string): void {
    this.space();
    if (this.text[this.at] !== char) throw new JsonError(`it is not JSON at character ${this.at}`);
    this.at += 1;
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
