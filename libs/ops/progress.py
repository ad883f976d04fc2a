"""What an operator sees while the stack starts and stops: one line a step, with its time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as Bar
from rich.text import Text


class Progress:
    """Writes steps to a console; live while it is a terminal, plain lines otherwise."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show that `title` is being done, then how long it took."""
        started = time.monotonic()
        try:
            if self.console.is_terminal:
                with self.console.status(title):
                    yield
            else:
                yield
        except BaseException:
            self._line("✗", title, started, "red")
            raise
        self._line("✓", title, started, "green")

    @contextmanager
    def counting(self, title: str) -> Iterator[Callable[[int], None]]:
        """A step that is told its percentage: a bar while the console is a terminal."""
        started = time.monotonic()
        bar = Bar(console=self.console, transient=True, disable=not self.console.is_terminal)
        try:
            with bar:
                task = bar.add_task(title, total=100)
                yield lambda percent: bar.update(task, completed=percent)
        except BaseException:
            self._line("✗", title, started, "red")
            raise
        self._line("✓", title, started, "green")

    def say(self, line: str) -> None:
        """One line as it is, neither wrapped nor coloured."""
        self.console.out(line, highlight=False)

    def _line(self, mark: str, title: str, started: float, colour: str) -> None:
        if not self.console.encoding.startswith("utf"):
            mark = "ok" if mark == "✓" else "failed"
        seconds = f"{time.monotonic() - started:6.1f} s"
        self.console.print(Text.assemble((mark, colour), f" {title:<44}", (seconds, "dim")))


def quiet() -> Progress:
    """Shows nothing: for tests and programs."""
    return Progress(Console(quiet=True))
