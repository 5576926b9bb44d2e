"""A tab of a real browser in which LangGraph's `useStream` runs, as it comes from npm."""

from __future__ import annotations

import subprocess
from functools import cache

from playwright.sync_api import Locator, Page, Route, expect

from tests.stock.node import JS, installed

PATH = "/use-stream.html"
HTML = """<!doctype html><meta charset="utf-8"><title>useStream</title><style>{}</style>
<div id="root"></div><script type="module">{}</script>"""
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: #f5f5f7; }
main { max-width: 40rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1rem; color: #666; } ol { list-style: none; padding: 0; }
li { padding: .5rem .8rem; margin: .5rem 0; border-radius: .7rem; background: #fff; width: fit-content; }
li.human { margin-left: auto; background: #d9e8ff; } li.tool, li.call { font: 13px monospace; color: #555; }
input { width: 100%; box-sizing: border-box; font: inherit; padding: .6rem; } button { font: inherit; }
"""


@cache
def bundled() -> str:
    """The page's script with all that it imports."""
    command = ["node_modules/.bin/esbuild", "page.mjs", "--bundle", "--format=esm", "--log-level=warning"]
    define = '--define:process.env.NODE_ENV="production"'
    done = subprocess.run([*command, define], cwd=installed(), capture_output=True, text=True)
    assert done.returncode == 0, f"{JS.name}/page.mjs: {done.stderr[-3000:]}"
    return done.stdout


class Tab:
    """The page comes from the server's own origin, as if the server had it: the browser adds it on the way."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url
        page.route(f"{url}{PATH}**", _serve)

    def open(self, **query: str) -> None:
        self.page.goto(f"{self._url}{PATH}?" + "&".join(f"{key}={value}" for key, value in query.items()))

    def say(self, text: str) -> None:
        self.page.get_by_label("Message").fill(text)
        self.page.keyboard.press("Enter")

    def messages(self, kind: str = "ai") -> Locator:
        return self.page.locator(f"li.{kind}")

    def at_rest(self) -> None:
        expect(self.page.locator("main")).to_have_attribute("data-state", "idle")


def _serve(route: Route) -> None:
    script = bundled().replace("</script", "<\\/script")
    html = HTML.replace("{}", STYLE, 1).replace("{}", script, 1)
    route.fulfill(body=html, content_type="text/html")
