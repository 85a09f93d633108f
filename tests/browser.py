"""Headless Chromium for tests of pages, spoken to over a pipe: no port, no driver, one process for many pages.

with Browser(tmp_path) as browser:
    page = browser.show(document, width=1366, media="print", scheme="dark")
    page["wide"]                 what is wider than its place
    browser.tree()               what a screen reader gets: (role, name) of each node
    browser.pdf()
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
MEASURE = """(() => {
  const boxes = [...document.querySelectorAll("table, figure, pre, .tile, .decision, .ledger, .stacks")];
  const name = node => (node.caption || node).textContent.trim().slice(0, 60);
  const wide = boxes.filter(node => {
    const box = node.getBoundingClientRect(), room = node.parentElement.getBoundingClientRect();
    const inside = node.tagName != "TABLE" && node.scrollWidth > node.clientWidth + 1;
    return inside || box.right > innerWidth + 1 || box.width > room.width + 1;
  }).map(name);
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const part = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] == 1) return colour;
    }
    return [255, 255, 255];
  };
  const pale = new Set(), small = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; text = texts.nextNode();) {
    const node = text.parentElement, style = getComputedStyle(node);
    if (!text.data.trim() || !node.checkVisibility() || node.closest("script, style")) continue;
    const [one, other] = [luminance(rgb(node.closest("svg") ? style.fill : style.color)), luminance(ground(node))];
    if ((Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) < 4.5) pale.add(text.data.trim().slice(0, 40));
    const scale = node.closest("svg") ? node.getScreenCTM().a : 1;
    if (parseFloat(style.fontSize) * scale < 9) small.add(text.data.trim().slice(0, 40));
  }
  return { wide, pale: [...pale], small: [...small], width: document.documentElement.scrollWidth,
           requests: performance.getEntriesByType("resource").length };
})()"""
"""What is wider than its place, too pale (WCAG 2, AA) and too small (in CSS pixels: 9 are 6.75 points)."""


class Browser:
    """A browser with a profile of its own, and one page."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM
        (commands, self._commands), (self._answers, answers) = os.pipe(), os.pipe()
        # Chromium's ends are 3 and 4; beyond 10, what is copied there does not lie on it.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]

        def connect() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")
        self._process = subprocess.Popen(
            [CHROMIUM, *options, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,  # ours are closed by exec, 3 and 4 are not
            preexec_fn=connect,
        )
        for end in (commands, answers, *ends):
            os.close(end)
        self._folder, self._number, self._rest, self._session = folder, 0, b"", ""
        self._events: list[str] = []
        (target,) = (one for one in self._call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        self._call("Page.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        self._send("Browser.close")
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            os.close(self._commands)
            os.close(self._answers)

    def show(self, document: str, *, width: int = 1366, media: str = "screen", scheme: str = "light") -> dict[str, Any]:
        """Open a page and return what MEASURE finds.

        Args:
            width: of the window, in CSS pixels; its height is 768.
            media: `screen` or `print`.
            scheme: `light` or `dark`.
        """
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=768, deviceScaleFactor=1, mobile=False)
        self._call("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
        (path := self._folder / "page.html").write_text(document, encoding="utf-8")
        self._events.clear()
        self._call("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self._events:
            self._events.append(self._read().get("method", ""))
        return dict(self.run(MEASURE))

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression on the page."""
        done = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def tree(self) -> list[tuple[str, str]]:
        """Return the role and the name of each node of the accessibility tree."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]

    def pdf(self) -> bytes:
        """Print the page."""
        return base64.b64decode(self._call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])

    def picture(self) -> bytes:
        """Return what is in the window, as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot")["data"])

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        self._send(method, **arguments)
        while (message := self._read()).get("id") != self._number:
            self._events.append(message.get("method", ""))
        assert "error" not in message, message
        return dict(message["result"])

    def _send(self, method: str, **arguments: Any) -> None:
        self._number += 1
        message = {"id": self._number, "method": method, "params": arguments}
        content = json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        while content:
            content = content[os.write(self._commands, content) :]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._answers, 1 << 20)
            assert more, "the browser has gone"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))
