"""Firefox with its own fake camera, driven by WebDriver BiDi (W3C), which needs no driver between."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

PROGRAM = Path("/usr/bin/firefox-esr")
PREFERENCES: dict[str, Any] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.gmp-manager.updateEnabled": False,
    "app.update.auto": False,
    "datareporting.policy.dataSubmissionEnabled": False,
}
PATIENCE_S = 40.0
T = TypeVar("T")


class Firefox:
    """One window. profile: an empty folder."""

    def __init__(self, profile: Path) -> None:
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()
        ]
        (profile / "user.js").write_text("\n".join(lines))
        command = [PROGRAM, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        self._process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self._numbers = itertools.count()
        # In a thread of its own: in this one Playwright's may run.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._wait_for(self._connect(self._address()))
        except BaseException:
            self.close()
            raise

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * PATIENCE_S)

    def _address(self) -> str:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
                return found[1]
        raise AssertionError("Firefox ended before it listened")

    async def _connect(self, address: str) -> None:
        self._web = aiohttp.ClientSession()
        self._socket = await self._web.ws_connect(f"{address}/session", max_msg_size=0)
        await self._command("session.new", {"capabilities": {}})
        tree = await self._command("browsingContext.getTree", {})
        self._context: str = tree["contexts"][0]["context"]

    async def _command(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await asyncio.wait_for(self._socket.receive_json(), PATIENCE_S)
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return dict(answer["result"])

    def open(self, url: str) -> None:
        """Show a page, and wait until it is loaded."""
        where = {"context": self._context, "url": url, "wait": "complete"}
        self._wait_for(self._command("browsingContext.navigate", where))

    def preload(self, script: str) -> None:
        """Have pages opened from now on run a script first."""
        wrapped = {"functionDeclaration": f"() => {{ {script} }}"}
        self._wait_for(self._command("script.addPreloadScript", wrapped))

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression, which may be a promise, as JSON carries it."""
        call = {
            "functionDeclaration": f"async () => JSON.stringify(await ({script}))",
            "target": {"context": self._context},
            "awaitPromise": True,
            "userActivation": True,
        }
        answer = self._wait_for(self._command("script.callFunction", call))
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))

    def until(self, holds: str | Callable[[], bool]) -> None:
        """Wait until an expression, or something that the page cannot tell by itself, holds."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not (self.run(holds) if isinstance(holds, str) else holds()):
            assert time.monotonic() < deadline_s, f"it did not come to be: {holds}"
            time.sleep(0.1)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate(timeout=20)
        if hasattr(self, "_web"):
            self._wait_for(self._web.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
