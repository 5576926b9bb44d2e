"""Knows people by a word, and lets each see what is theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph_sdk import Auth

auth = Auth()
TEAMS = {"ann": "red", "bob": "blue"}


@auth.authenticate
async def known(authorization: str | None, headers: dict[bytes, bytes], method: str) -> dict[str, Any]:
    scheme, _, name = (authorization or "").partition(" ")
    if scheme != "Bearer" or not name:
        raise Auth.exceptions.HTTPException(401, "say who you are")
    if name == "mallory":
        raise Auth.exceptions.HTTPException(403, "not you")
    if name == "broken":
        raise RuntimeError("the directory is down")
    assert headers[b"authorization"]
    assert method in {"GET", "POST", "PATCH", "DELETE", "PUT"}
    name, _, team = name.partition(".")
    if (moved := Path(__file__).with_name(f"{name}.moved")).exists():
        team = moved.read_text()
        if not team:
            raise Auth.exceptions.HTTPException(401, "not any more")
    return {"identity": name, "team": team or TEAMS.get(name, "none"), "permissions": ["chat"]}


@auth.on.threads
async def own(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    if "sealed" in str((value.get("metadata"), value.get("kwargs"))):
        raise Auth.exceptions.HTTPException(403, "sealed")
    if "swap me" in str(value.get("kwargs")):
        value["kwargs"]["input"] = {"messages": [{"role": "user", "content": "swapped"}]}
    mine = {"team": ctx.user["team"]}
    value.setdefault("metadata", {}).update(mine)
    return mine


@auth.on.threads.update
async def own_words(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    mine = {"team": ctx.user["team"]}
    value["metadata"] = {name: said for name, said in value.get("metadata", {}).items() if name != "team"}
    return mine


@auth.on.threads.delete
async def nobody_deletes(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> bool:
    return False


@auth.on.assistants.create
async def needs_a_name(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    assert value["name"] != "Untitled", "give it a name"


@auth.on.assistants.update
async def tagged(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    value["config"] = {"tags": ["seen"]}
    value["description"] = "changed"


@auth.on.assistants.read
async def no_drafts(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    return {"draft": False}


@auth.on.store
async def own_corner(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    value["namespace"] = (ctx.user.identity, *(value.get("namespace") or ()))
