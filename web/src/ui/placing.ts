/** Where a note stands: below what it explains, or above where there is no room, and always inside the window. */

const EDGE = 16;
const GAP = 6;

export function placeNote(anchor: Element | null, note: HTMLElement | null): void {
  if (anchor === null || note === null) return;
  const at = anchor.getBoundingClientRect();
  const size = note.getBoundingClientRect();
  const below = at.bottom + size.height + EDGE < innerHeight || at.top < size.height + EDGE;
  note.style.left = `${Math.max(EDGE, Math.min(at.left, innerWidth - size.width - EDGE))}px`;
  note.style.top = `${below ? at.bottom + GAP : at.top - size.height - GAP}px`;
}
