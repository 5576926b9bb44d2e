"""How a token gets from the model to the live stream: `python -m benchmarks.token_path`.

CPU of this process for one token, as the slope between short and long turns, so that what a turn costs by itself
drops out. Each way runs the same model, and must collect exactly what it recites. Decides ADR 10.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar
from uuid import UUID

import uvloop
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph

from benchmarks.graph import RecitingModel, graph_of
from benchmarks.recital import words
from benchmarks.report import spread

T = TypeVar("T")
Way = Callable[[RecitingModel], Callable[[], Awaitable[list[str]]]]
"""Given a model, prepares a turn; the turn returns what reached the stream."""

ASKED: Any = {"messages": [("user", "Recite, please.")]}
SHORT, LONG = 8, 72


class AsyncTap(AsyncCallbackHandler):
    """A handler that offers these two methods makes a model stream that was called with `ainvoke`."""

    run_inline = True

    def __init__(self) -> None:
        self.heard: list[str] = []

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[T]) -> AsyncIterator[T]:
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[T]) -> Iterator[T]:
        return output

    async def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        """Without it LangChain falls back to `on_llm_start`, loudly."""

    async def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.heard.append(token)


class GatheredTap(AsyncTap):
    run_inline = False


class Tap(BaseCallbackHandler):
    run_inline = True

    def __init__(self) -> None:
        self.heard: list[str] = []

    tap_output_aiter = AsyncTap.tap_output_aiter
    tap_output_iter = AsyncTap.tap_output_iter

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        """As above."""

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.heard.append(token)


def tapped(handler: Callable[[], Any]) -> Way:
    def way(model: RecitingModel) -> Callable[[], Awaitable[list[str]]]:
        graph = graph_of(model).compile()

        async def turn() -> list[str]:
            tap = handler()
            await graph.ainvoke(ASKED, {"callbacks": [tap]})
            return list(tap.heard)

        return turn

    return way


def messages_mode(version: Any) -> Way:
    def way(model: RecitingModel) -> Callable[[], Awaitable[list[str]]]:
        graph = graph_of(model).compile()

        async def turn() -> list[str]:
            heard = []
            async for part in graph.astream(ASKED, stream_mode="messages", version=version):
                chunk = part["data"][0] if version == "v2" else part[0]
                if chunk.content:
                    heard.append(chunk.content)
            return heard

        return turn

    return way


def custom_writer(model: RecitingModel) -> Callable[[], Awaitable[list[str]]]:
    async def answer(state: MessagesState) -> dict[str, Any]:
        write, text = get_stream_writer(), ""
        async for chunk in model.astream(state["messages"]):
            if chunk.content:
                write(chunk.content)
                text += str(chunk.content)
        return {"messages": [AIMessage(text)]}

    graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()

    async def turn() -> list[str]:
        return [str(part) async for part in graph.astream(ASKED, stream_mode="custom")]

    return turn


def model_alone(model: RecitingModel) -> Callable[[], Awaitable[list[str]]]:
    async def turn() -> list[str]:
        return [str(chunk.content) async for chunk in model.astream("Recite, please.") if chunk.content]

    return turn


CHOSEN = "synchronous handler, inline"
WAYS: dict[str, Way] = {
    "the model alone, `astream`": model_alone,
    CHOSEN: tapped(Tap),
    "async handler, inline": tapped(AsyncTap),
    "async handler, not inline": tapped(GatheredTap),
    "`custom` writer": custom_writer,
    "`messages` mode, v2": messages_mode("v2"),
    "`messages` mode, v1": messages_mode("v1"),
}


async def cpu_us_of_turn(way: Way, tokens: int, gap_s: float, turns: int, at_once: int) -> float:
    """Raises RuntimeError if a token was lost, doubled or moved."""
    turn = way(RecitingModel(tokens=tokens, gap_s=gap_s))
    await turn()
    gc.collect()
    began = time.process_time()
    for _ in range(max(1, turns // at_once)):
        for heard in await asyncio.gather(*(turn() for _ in range(at_once))):
            if [word for word in heard if word] != words(tokens):
                raise RuntimeError(f"heard {heard}")
    return (time.process_time() - began) / (max(1, turns // at_once) * at_once) * 1e6


async def per_token_us(way: Way, gap_s: float, turns: int, at_once: int) -> float:
    short = await cpu_us_of_turn(way, SHORT, gap_s, turns, at_once)
    return (await cpu_us_of_turn(way, LONG, gap_s, turns, at_once) - short) / (LONG - SHORT)


async def main(rounds: int, turns: int, at_once: int) -> None:
    found: dict[tuple[str, float], list[float]] = {}
    for _ in range(rounds):
        for name, way in WAYS.items():
            found.setdefault((name, 0.0), []).append(await per_token_us(way, 0.0, turns, 1))
            found.setdefault((name, 0.01), []).append(await per_token_us(way, 0.01, at_once, at_once))
    print(f"µs of CPU a token, median of {rounds} rounds (least to greatest); paced: {at_once} turns at once; ÷: to")
    print(f"`{CHOSEN}` in the same round\n")
    print("| way | no delay | ÷ | 10 ms between tokens | ÷ |\n|---|---|---|---|---|")
    for name in WAYS:
        cells = []
        for gap_s in (0.0, 0.01):
            bases = found[CHOSEN, gap_s]
            ratios = [one / base for one, base in zip(found[name, gap_s], bases, strict=True)]
            cells += [spread(found[name, gap_s], 1), spread(ratios, 2)]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.token_path", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=100, help="of each length and way, in a round")
    parser.add_argument("--at-once", type=int, default=10, help="turns side by side where the model pauses")
    chosen = parser.parse_args()
    uvloop.run(main(chosen.rounds, chosen.turns, chosen.at_once))
