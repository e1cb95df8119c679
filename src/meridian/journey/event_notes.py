"""What the processes of a run say, as lines for whoever watches."""

from collections.abc import Callable

from meridian.journey.processes import Event


class EventNotes:
    """Tells each event that a person should see, and what is said again and again only once.

    Args:
        note: Shows a line.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._said: set[str] = set()

    def __call__(self, process: str, event: Event) -> None:
        """Take an event of a process."""
        match event.get("event"):
            case "waiting":
                silent = ", ".join(event["silent"]) or "nobody"
                text = (
                    f"epoch {event['epoch']} waits ({event['phase']}): {event['rows']} members are heard,"
                    f" {event['needed']} are needed; silent: {silent}"
                )
                if text not in self._said:
                    self._said.add(text)
                    self._note(f"{process}: {text}")
            case "refused" | "mismatch" | "misbehaviour":
                details = {key: value for key, value in event.items() if key != "evidence"}
                self._note(f"{process}: {details}")
