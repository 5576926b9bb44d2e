"""A model provider in one process: what OpenAI's and Anthropic's clients ask for, and a web search, answered by rules.

`python -m tests.examples.provider PORT`. What is asked is answered from the request alone:

a schema is to be filled           its properties' first choices: the first of an enum, else a few words
tools are offered                  the first one that fits what was said last: "search", "remember", or what is required
after a tool's result, or else     a text that repeats what was said last, and what the prompt remembers
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

DIMENSIONS: Final = 1536
BY_WORD: Final = {"search": "search", "remember": "upsert_memory"}
"""What is said → the tool that it calls for."""
ARGUMENTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "search": {"query": "the weather in Oslo"},
    "upsert_memory": {"content": "likes tea", "context": "said so"},
    "write_email": {"to": "ann@example.org", "subject": "Re: hello", "content": "With pleasure."},
    "Done": {"done": True},
}

Call = tuple[str, Mapping[str, Any]]
Reply = str | Call


def reply_to(prompt: str, said: str, results: Sequence[str], tools: Sequence[str], *, required: bool) -> Reply:
    """`said`: the user's last words; `results`: of tools, since then."""
    wanted = next((tool for word, tool in BY_WORD.items() if word in said and tool in tools), "")
    if required:
        wanted = "Done" if results and "Done" in tools else next(name for name in ARGUMENTS if name in tools)
    if wanted and (required or not results):
        return wanted, ARGUMENTS[wanted]
    found = f" I found: {results[-1][:60]}." if results else ""
    known = re.findall(r"'content': '([^']+)'", prompt)
    return f"You said: {said[:60]}.{found}" + (f" I remember: {', '.join(known)}." if known else "")


def filled(schema: Mapping[str, Any]) -> dict[str, Any]:
    def value(of: Mapping[str, Any]) -> Any:
        return of["enum"][0] if "enum" in of else "a few words"

    found = {name: value(of) for name, of in schema["properties"].items()}
    return found | ({"classification": "respond"} if "classification" in found else {})


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(str(block.get("text") or block.get("content") or "") for block in content or [])


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        if path.endswith("/embeddings"):
            self._json(_embeddings(asked))
        elif path.endswith("/chat/completions"):
            reply = _openai_reply(asked)
            self._stream(_openai_chunks(reply)) if asked.get("stream") else self._json(_openai_whole(reply))
        elif path.endswith("/messages"):
            reply = _anthropic_reply(asked)
            self._stream(_anthropic_events(reply)) if asked.get("stream") else self._json(_anthropic_whole(reply))
        elif path.endswith("/search"):
            found = {"title": "Oslo", "url": "https://example.org", "content": "It rains in Oslo.", "score": 0.9}
            self._json({"query": asked.get("query"), "results": [found], "images": [], "response_time": 0.1})
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name)
        return

    def _json(self, answer: Any) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def _stream(self, events: Iterator[tuple[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for name, data in events:
            head = f"event: {name}\n" if name else ""
            self.wfile.write(f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode())
            self.wfile.flush()


def _embeddings(asked: Mapping[str, Any]) -> dict[str, Any]:
    given = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [{"object": "embedding", "index": n, "embedding": _vector(str(one))} for n, one in enumerate(given)]
    return {"object": "list", "data": data, "model": asked["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def _vector(text: str) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    return [digest[n % 32] / 255 for n in range(DIMENSIONS)]


def _openai_reply(asked: Mapping[str, Any]) -> Reply:
    if asked.get("response_format", {}).get("type") == "json_schema":
        return json.dumps(filled(asked["response_format"]["json_schema"]["schema"]))
    messages = asked["messages"]
    last = max((n for n, message in enumerate(messages) if message["role"] == "user"), default=0)
    results = [text_of(message["content"]) for message in messages[last:] if message["role"] == "tool"]
    tools = [tool["function"]["name"] for tool in asked.get("tools", [])]
    required = asked.get("tool_choice") in ("required", "any")
    prompt = " ".join(text_of(message["content"]) for message in messages if message["role"] in ("system", "developer"))
    return reply_to(prompt, text_of(messages[last]["content"]), results, tools, required=required)


def _openai_message(reply: Reply) -> dict[str, Any]:
    if isinstance(reply, str):
        return {"role": "assistant", "content": reply}
    function = {"name": reply[0], "arguments": json.dumps(reply[1])}
    call = {"id": f"call_{uuid.uuid4().hex[:12]}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _openai_whole(reply: Reply) -> dict[str, Any]:
    reason = "stop" if isinstance(reply, str) else "tool_calls"
    choice = {"index": 0, "message": _openai_message(reply), "finish_reason": reason}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def _openai_chunks(reply: Reply) -> Iterator[tuple[str, Any]]:
    def chunk(delta: Mapping[str, Any], reason: str | None = None) -> tuple[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return "", {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    if isinstance(reply, str):
        for word in reply.split(" "):
            yield chunk({"role": "assistant", "content": f"{word} "})
        yield chunk({}, "stop")
    else:
        message = _openai_message(reply)
        yield chunk({"role": "assistant", "tool_calls": [{**message["tool_calls"][0], "index": 0}]})
        yield chunk({}, "tool_calls")
    yield "", "[DONE]"


def _anthropic_reply(asked: Mapping[str, Any]) -> Reply:
    said, results = "", []
    for message in asked["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else []
        found = [text_of(block.get("content")) for block in blocks if block.get("type") == "tool_result"]
        results += found
        if message["role"] == "user" and not found:
            said, results = text_of(message["content"]), []
    tools = [tool["name"] for tool in asked.get("tools", [])]
    required = asked.get("tool_choice", {}).get("type") in ("any", "tool")
    return reply_to(text_of(asked.get("system")), said, results, tools, required=required)


def _anthropic_block(reply: Reply) -> dict[str, Any]:
    if isinstance(reply, str):
        return {"type": "text", "text": reply}
    return {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:12]}", "name": reply[0], "input": reply[1]}


def _anthropic_whole(reply: Reply) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex[:12]}",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [_anthropic_block(reply)],
        "stop_reason": "end_turn" if isinstance(reply, str) else "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _anthropic_events(reply: Reply) -> Iterator[tuple[str, Any]]:
    def event(kind: str, **fields: Any) -> tuple[str, Any]:
        return kind, {"type": kind, **fields}

    whole = _anthropic_whole(reply)
    yield event("message_start", message={**whole, "content": [], "stop_reason": None})
    block = whole["content"][0]
    if isinstance(reply, str):
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for word in reply.split(" "):
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": f"{word} "})
    else:
        yield event("content_block_start", index=0, content_block={**block, "input": {}})
        piece = json.dumps(reply[1])
        yield event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": piece})
    yield event("content_block_stop", index=0)
    stopped = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=stopped, usage={"output_tokens": 1})
    yield event("message_stop")


def serve(port: int) -> ThreadingHTTPServer:
    """Bound and listening; `serve_forever` answers."""
    return ThreadingHTTPServer(("127.0.0.1", port), Provider)


if __name__ == "__main__":
    serve(int(sys.argv[1])).serve_forever()
