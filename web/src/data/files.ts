/**
 * The files of a site, fetched once: what was read stays until the site says that something has changed, or until the
 * cache is full. A file that is not there is an answer too.
 */

import { Columns } from "./columns.ts";

/** Gives a file's bytes by its path relative to the site; null: there is none. */
export type Read = (path: string) => Promise<ArrayBuffer | null>;

const BYTES_MAX = 96 << 20;
const decoder = new TextDecoder();

/** Reads over HTTP, relative to the page; a browser asks the server whether what it has is still so. */
export function overHttp(base: string): Read {
  return async (path) => {
    const answer = await fetch(base + path, { cache: "no-cache" });
    if (answer.status === 404) return null;
    if (!answer.ok) throw new Error(`${path}: the server answers ${answer.status}`);
    return answer.arrayBuffer();
  };
}

interface Held {
  value: Promise<unknown>;
  bytes: number;
}

export class Files {
  /** In order of use, the oldest first. */
  private readonly held = new Map<string, Held>();
  private bytes = 0;

  constructor(private readonly read: Read) {}

  forget(): void {
    this.held.clear();
    this.bytes = 0;
  }

  /** A JSON file's value; null: there is none. */
  json(path: string): Promise<unknown> {
    return this.once(path, (data) => JSON.parse(decoder.decode(data)) as unknown);
  }

  /** A columns file; null: there is none. */
  columns(path: string): Promise<Columns | null> {
    return this.once(path, (data) => new Columns(data));
  }

  /** A columns file that other files name. */
  async named(path: string): Promise<Columns> {
    const found = await this.columns(path);
    if (found === null) throw new Error(`${path} is missing in this site`);
    return found;
  }

  /** What is computed of files, kept like a file. `bytes` is about what it takes. */
  derived<T>(name: string, bytes: number, make: () => Promise<T>): Promise<T> {
    return (this.hit(name) ?? this.keep(name, bytes, make())) as Promise<T>;
  }

  private once<T>(path: string, parse: (data: ArrayBuffer) => T): Promise<T | null> {
    const found = this.hit(path);
    if (found !== null) return found as Promise<T | null>;
    const value = this.read(path).then((data) => {
      if (data === null) return null;
      this.grow(path, data.byteLength);
      return parse(data);
    });
    return this.keep(path, 64, value);
  }

  private hit(name: string): Promise<unknown> | null {
    const found = this.held.get(name);
    if (found === undefined) return null;
    this.held.delete(name);
    this.held.set(name, found);
    return found.value;
  }

  private keep<T>(name: string, bytes: number, value: Promise<T>): Promise<T> {
    this.held.set(name, { value, bytes: 0 });
    this.grow(name, bytes);
    value.catch(() => this.drop(name, value)); // what failed is tried again
    return value;
  }

  private drop(name: string, value: Promise<unknown>): void {
    const found = this.held.get(name);
    if (found?.value !== value) return;
    this.bytes -= found.bytes;
    this.held.delete(name);
  }

  private grow(name: string, bytes: number): void {
    const found = this.held.get(name);
    if (found === undefined) return;
    this.bytes += bytes - found.bytes;
    found.bytes = bytes;
    for (const [oldest, one] of this.held) {
      if (this.bytes <= BYTES_MAX || oldest === name) break;
      this.drop(oldest, one.value);
    }
  }
}
