"""What LangGraph's clients ask for around runs, at the addresses where they ask for it."""

from __future__ import annotations

from typing import Final

from unbroken.entrypoints.langgraph_api import assistants_api, states, store, system, threads

CATALOGUE: Final = (
    system.ok,
    system.info,
    system.crons,
    system.cron,
    assistants_api.search_assistants,
    assistants_api.count_assistants,
    assistants_api.create_assistant,
    assistants_api.get_assistant,
    assistants_api.change_assistant,
    assistants_api.delete_assistant,
    assistants_api.list_versions,
    assistants_api.set_latest,
    assistants_api.get_schemas,
    assistants_api.get_graph,
    assistants_api.get_subgraphs,
    assistants_api.get_subgraph,
    threads.create_thread,
    threads.search_threads,
    threads.count_threads,
    threads.prune_threads,
    threads.get_thread,
    threads.change_thread,
    threads.delete_thread,
    threads.copy_thread,
    states.get_state,
    states.get_state_at,
    states.get_state_at_checkpoint,
    states.update_state,
    states.list_history,
    states.search_history,
    store.put_item,
    store.get_item,
    store.delete_item,
    store.search_items,
    store.list_namespaces,
)
