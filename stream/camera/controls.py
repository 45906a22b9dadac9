"""What the keys do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stream.live.settings import Settings

STEP = 0.1
SPLIT_STEP = 0.05
HELP = (
    "keys: space effect, +/- strength, m map, s split, left/right moves the split, f freeze, x mirror, "
    "h help, q quit"
)


class Controls:
    """Settings of a running camera, changed by keys.

    settings: what is in force. mirror: exchange left and right. quit: the user wants to leave.
    """

    def __init__(self, settings: Settings, *, mirror: bool = False) -> None:
        self.settings, self.mirror, self.quit = settings, mirror, False
        actions: dict[str, Callable[[], str]] = {
            "space": lambda: self._toggle("effect", "effect"),
            "e": lambda: self._toggle("effect", "effect"),
            "f": lambda: self._toggle("frozen", "freeze"),
            "m": lambda: self._view("map"),
            "s": lambda: self._view("split"),
            "x": self._mirror,
            "q": self._quit,
            "h": lambda: HELP,
            "?": lambda: HELP,
            "left": lambda: self._move("split_at", -SPLIT_STEP, "split at"),
            "right": lambda: self._move("split_at", SPLIT_STEP, "split at"),
        }
        actions |= dict.fromkeys(("+", "=", "up"), lambda: self._move("strength", STEP, "strength"))
        actions |= dict.fromkeys(("-", "_", "down"), lambda: self._move("strength", -STEP, "strength"))
        self._actions = actions

    def press(self, key: str) -> str:
        """Do what the key stands for; what there is to say, empty for a key that does nothing."""
        action = self._actions.get(key)
        return "" if action is None else action()

    def _change(self, **wanted: Any) -> None:
        self.settings = self.settings.changed(**wanted)

    def _toggle(self, name: str, words: str) -> str:
        on = not getattr(self.settings, name)
        self._change(**{name: on})
        return f"{words} {'on' if on else 'off'}"

    def _view(self, view: str) -> str:
        view = "plain" if self.settings.view == view else view
        self._change(view=view)
        return f"view: {view}"

    def _move(self, name: str, by: float, words: str) -> str:
        value = min(1.0, max(0.0, round(getattr(self.settings, name) + by, 2)))
        self._change(**{name: value})
        return f"{words} {value:g}"

    def _mirror(self) -> str:
        self.mirror = not self.mirror
        return f"mirror {'on' if self.mirror else 'off'}"

    def _quit(self) -> str:
        self.quit = True
        return ""
