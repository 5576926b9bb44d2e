"""Rules that ask which graph is to run, and who may change what is there. `ann.reader` is ann, and may read only."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from langgraph_sdk import Auth

auth = Auth()
VAULT = uuid5(UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8"), "vault")


@auth.authenticate
async def known(authorization: str | None) -> dict[str, Any]:
    name, _, role = (authorization or "").removeprefix("Bearer ").partition(".")
    if not name:
        raise Auth.exceptions.HTTPException(401, "say who you are")
    return {"identity": name, "role": role, "team": "blue" if role == "blue" else "red"}


@auth.on.threads
async def of_the_team(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    value.setdefault("metadata", {})["team"] = ctx.user["team"]
    return {"team": ctx.user["team"]}


@auth.on.threads.create
async def not_every_name(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    assert str(value["thread_id"]) != "taken", "not this name"
    return await of_the_team(ctx, value)


@auth.on.threads.create_run
async def not_the_vault(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    assert value["assistant_id"] != VAULT, "the vault is locked"
    kwargs, kind = value["kwargs"], type(value["assistant_id"]).__name__
    heard = (kind, value["multitask_strategy"], value["if_not_exists"], *sorted(value), *sorted(kwargs))
    kwargs["config"]["configurable"]["heard"] = " ".join(heard)
    return await of_the_team(ctx, value)


@auth.on.threads.update
async def not_for_readers(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    assert ctx.user["role"] != "reader", f"{value.get('action')}: to be read only"
    return {"team": ctx.user["team"]}


@auth.on.assistants.read
async def no_drafts(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(value["assistant_id"], UUID)
    return {"draft": False}
