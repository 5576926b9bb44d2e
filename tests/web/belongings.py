"""What a user has that another one must not come by."""

from __future__ import annotations

from typing import Any

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.web.rest import Rest

SECRET = "the rain in Spain 4711"


ALL = ["values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"]


RUN: dict[str, Any] = {"assistant_id": "endings", "input": {"messages": [{"role": "user", "content": "let me in"}]}}


class Belongings:
    """A thread of A's with something in every corner."""

    def __init__(self, server: Server, thread: str) -> None:
        self.thread = thread
        self.a, self.b = Rest(server, f"a-{thread}"[:120]), Rest(server, f"b-{thread}"[:120])
        self.file = self.state = self.effect = self.run = self.assistant = ""
        self.log: list[dict[str, Any]] = []

    async def begin(self) -> None:
        assert self.a.ask("POST", "/api/threads", {"threadId": self.thread, "agentId": "endings"}).status == 201
        added = self.a.ask("POST", f"/api/threads/{self.thread}/files?name=s.txt", SECRET.encode())
        self.file = added.json["fileId"]
        async with Client(self.a.server.url, thread=self.thread, user=self.a.user, agent="endings") as client:
            await client.answered(await client.say(f"{SECRET} ask=1"))
            await client.until(lambda c: len(c.view.log) == 2)
            self.log = client.view.log
        (run,) = self.a.ask("GET", f"/threads/{self.thread}/runs").json
        self.run = run["run_id"]
        assert self.a.ask("GET", f"/threads/{self.thread}/runs/{self.run}/join").status == 200
        preset = {"graph_id": "endings", "name": SECRET, "metadata": {"secret": "rain"}}
        self.assistant = self.a.ask("POST", "/assistants", preset).json["assistant_id"]
        self.a.ask("PATCH", f"/threads/{self.thread}", {"metadata": {"secret": SECRET}})
        entries = self.timeline()["turns"][0]["entries"]
        self.state = next(entry["checkpointId"] for entry in entries if entry["kind"] == "checkpoint")
        self.effect = next(entry["effectId"] for entry in entries if entry["kind"] == "effect")

    def timeline(self) -> dict[str, Any]:
        session = f"{self.a.user}:endings:{self.thread}"
        told: dict[str, Any] = self.a.ask("GET", f"/api/sessions/{session}/timeline").json
        return told

    @property
    def secrets(self) -> list[str]:
        said = [str(self.log[0]["message"]), str(self.log[1]["interruptId"])]
        return [SECRET, self.a.user, self.file, self.state, self.effect, self.run, *said]

    def filled(self, address: str, thread_id: str, file_id: str) -> str:
        session = f"{self.a.user}:endings:{thread_id}"
        names = {"thread": thread_id, "file": file_id, "run": self.run, "state": self.state, "effect": self.effect}
        assistant = self.assistant if file_id == self.file else "none"
        return address.format(session=session, assistant=assistant, **names)

    def untouched(self) -> bool:
        history = self.a.ask("GET", f"/api/threads/{self.thread}/messages").json
        thread = self.a.ask("GET", f"/api/threads/{self.thread}").json
        file = self.a.ask("GET", f"/api/threads/{self.thread}/files/{self.file}")
        return (
            [frame for frame in history["messages"] if "cursor" in frame] == self.log
            and thread["title"].startswith(SECRET)
            and thread["status"] == "waiting"
            and file.body == SECRET.encode()
            and self.a.ask("GET", f"/threads/{self.thread}").json["metadata"]["secret"] == SECRET
            and self.a.ask("GET", f"/assistants/{self.assistant}").json["name"] == SECRET
        )
