"""Why Unbroken differs from LangGraph's development server, by case. What begins with `not yet` may come to agree."""

from __future__ import annotations

_KILLED = (
    "LangGraph's server keeps everything in memory and loses the thread with the process; here the answer is given anew"
)
_PARTIAL = "what was shown before the cancel stays in the history, as people have seen it"
_AUDIT = (
    "the run stays in the list as interrupted, because events are never deleted; its messages are gone all the same"
)
_CHANNEL = "LangGraph's server accepts the channel and sends nothing on it"
_VALUE = "the question is sent as `value`, too, where this client looks for it; LangGraph's server leaves it None"
_STORE = "an item without a namespace is refused with 422, as every body that cannot be meant; there with 400"
NOT_YET = "not yet"

REASONS: dict[str, str] = {
    "js/runs/kill": _KILLED,
    "js/sse/custom": _CHANNEL,
    "js/sse/kill": _KILLED,
    "js/sse/tools": _CHANNEL,
    "js/websocket/custom": _CHANNEL,
    "js/websocket/kill": _KILLED,
    "js/websocket/reconnect": "on a socket that was opened anew LangGraph's server does not go on with the answer",
    "js/websocket/tools": _CHANNEL,
    "python/assistants/known": "an assistant is found by its graph's name, too, and not only by its id",
    "python/runs/cancel": _PARTIAL,
    "python/runs/interrupting": _PARTIAL,
    "python/runs/kill": _KILLED,
    "python/runs/question-anywhere": "LangGraph's server does not show in one protocol what the other has asked",
    "python/runs/rollback": _AUDIT,
    "python/runs/rolling-back": _AUDIT,
    "python/sse/custom": _CHANNEL,
    "python/sse/kill": _KILLED,
    "python/sse/question": _VALUE,
    "python/sse/steps": _CHANNEL,
    "python/sse/tool-fails": _CHANNEL,
    "python/sse/tools": _CHANNEL,
    "python/store/items": _STORE,
    "python/threads/before": "LangGraph's server fails at what the client sends for `before`",
    "python/threads/kept": "a thread's id may be any name of 1–128 letters, and so an unknown one is not found",
    "python/threads/values": "refused with a reason; LangGraph's server fails at it",
    "python/websocket/custom": _CHANNEL,
    "python/websocket/kill": _KILLED,
    "python/websocket/question": _VALUE,
    "python/websocket/steps": _CHANNEL,
    "python/websocket/tool-fails": _CHANNEL,
    "python/websocket/tools": _CHANNEL,
}
