"""A window that shows what the virtual camera is sent, by the Tk that comes with Python."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from typing import Any

from stream.camera.errors import PreviewError
from stream.camera.keys import ARROWS, keys_in
from stream.frame import RgbImage
from stream.live.fit import fitted

LARGEST = (640, 480)
EVERY_S = 1.0 / 15.0
# What is typed with it is for the system's menus.
_MENU_KEY = "Command" if sys.platform == "darwin" else "Alt"
_INSTEAD = "leave out --preview, or see yourself in the page of `vretouch relay`"


class Preview:
    """A small window, drawn at most 15 times a second, that takes keys; all calls come from the main
    thread."""

    def __init__(self, size: tuple[int, int]) -> None:
        scale = min(1.0, LARGEST[0] / size[0], LARGEST[1] / size[1])
        self._size = round(scale * size[0]), round(scale * size[1])
        self._drawn_s = 0.0
        self.closed = False
        self._keys: list[str] = []
        self._tk = _tkinter()
        try:
            self._window = self._tk.Tk(className="vretouch")
        except self._tk.TclError as error:
            raise PreviewError(f"a preview window cannot be opened ({error}); {_INSTEAD}") from error
        self._window.title("vretouch")
        self._window.resizable(False, False)
        self._window.protocol("WM_DELETE_WINDOW", self.close)
        self._window.bind("<Key>", self._press)
        self._window.bind(f"<{_MENU_KEY}-Key>", lambda _: None)
        self._image = self._tk.PhotoImage(width=self._size[0], height=self._size[1])
        self._label = self._tk.Label(self._window, image=self._image, borderwidth=0)
        self._label.pack()

    def show(self, picture_rgb_u8: RgbImage) -> None:
        """Draw a picture, uint8 [H, W, 3] RGB, and let the window react; nothing once it was closed."""
        now = time.monotonic()
        if self.closed or now - self._drawn_s < EVERY_S:
            return
        self._drawn_s = now
        small = fitted(picture_rgb_u8, self._size)
        # A portable pixmap (PPM) is a short header and the very bytes of the array.
        try:
            self._image.configure(data=b"P6 %d %d 255\n" % self._size + small.tobytes(), format="ppm")
            self._window.update()
        except self._tk.TclError:
            # The window was taken away from outside.
            self.closed = True

    def pressed(self) -> list[str]:
        """The keys pressed in the window since the last call, by the names that stream.camera.keys gives
        them; they come in while `show` draws."""
        keys, self._keys = self._keys, []
        return keys

    def _press(self, event: Any) -> None:
        self._keys += keys_of(event.keysym, event.char)

    def close(self) -> None:
        """Close the window."""
        if not self.closed:
            self.closed = True
            with contextlib.suppress(self._tk.TclError):
                self._window.destroy()


def keys_of(keysym: str, char: str) -> list[str]:
    """The key of an event of Tk, as a terminal would have sent it; empty for one that is none of ours."""
    arrow = keysym.removeprefix("KP_").lower()
    return [arrow] if arrow in ARROWS else keys_in(char)


def _tkinter() -> Any:
    try:
        return importlib.import_module("tkinter")
    except ImportError as error:
        raise PreviewError(
            f"a preview window needs Tk ({error}); install it (Debian, Ubuntu: `sudo apt install "
            f"python3-tk`), or {_INSTEAD}"
        ) from error
