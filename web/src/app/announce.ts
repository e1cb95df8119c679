/** Tells screen readers what has changed: one polite live region for the whole page. */

let speak: (text: string) => void = () => undefined;

/** The frame gives the region's voice. */
export function hear(voice: (text: string) => void): void {
  speak = voice;
}

export function announce(text: string): void {
  speak(text);
}
