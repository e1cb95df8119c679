"""Who watches a model's run in a test."""


class Interrupted(Exception):
    """A test ended the run."""


class Watching:
    """Keeps what is said; ends the run when a step begins, if it is asked to."""

    def __init__(self, interrupt_at=None):
        self.interrupt_at = interrupt_at
        self.notes = []

    def progress(self, step, done, total):
        if step == self.interrupt_at:
            raise Interrupted

    def note(self, text):
        self.notes.append(text)
