"""What is served: single agents, the bundled one, or a LangGraph project with everything its `langgraph.json` names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from langgraph_sdk import Auth
from litestar.types import ASGIApp
from msgspec import Struct

from unbroken.adapters.langgraph.importing import variable
from unbroken.adapters.langgraph.loading import NamedGraph, load_graphs, named_graph, with_bundled
from unbroken.adapters.langgraph.long_term_store import Index, index_of
from unbroken.adapters.langgraph.project import NAME, Cors, GraphEntry, Project, read_project
from unbroken.adapters.langgraph.project_environment import make_importable, set_variables
from unbroken.application.sweep_items import INTERVAL_S
from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.web.cors import AT_HOME, CorsGate, Sites
from unbroken.entrypoints.web.users_app import BesideUsers, checked

log = logging.getLogger(__name__)

MINUTES_A_DAY: Final = 24 * 60


class Served(Struct, frozen=True):
    graphs: Sequence[NamedGraph]
    """The default agent first."""
    project: Project | None = None
    index: Index | None = None
    """How items of the long-term store are found by meaning; None: they are not."""
    auth: Auth | None = None
    """The project's own way to know callers and what they may do."""
    app: Any = None
    """An application of the project's, whose routes come before ours."""

    def settings(self, settings: Settings) -> Settings:
        """Those that the project decides, unless they are set."""
        minutes = self.project.keeps_threads_min if self.project is not None else None
        if minutes is None or settings.retention_days is not None:
            return settings
        return settings.model_copy(update={"retention_days": minutes / MINUTES_A_DAY})

    @property
    def sweep_s(self) -> float:
        """Pause between two looks for expired items of the long-term store."""
        store = self.project.entries.store if self.project is not None else None
        minutes = store.ttl.sweep_interval_minutes if store is not None and store.ttl is not None else None
        return INTERVAL_S if minutes is None else minutes * 60

    @property
    def cors(self) -> Cors | None:
        """A project that says nothing of it lets in the pages that its own machine serves."""
        if self.project is None:
            return None
        http = self.project.entries.http
        return AT_HOME if http is None or http.cors is None else http.cors

    def warn_of_everybody(self, settings: Settings) -> None:
        """Where callers are known by nothing, only the doors keep other sites' pages out; the project may open them."""
        if settings.auth != "none" or self.auth is not None or self.cors is None or not Sites(self.cors).everybody:
            return
        assert self.project is not None
        log.warning(
            "%s: http.cors lets in the pages of every site, and nobody is asked who they are (UNBROKEN_AUTH=none): any "
            "page in a browser that reaches %s can read, write and delete all threads. Name sites in allow_origins, or "
            "have callers known by auth.path or UNBROKEN_AUTH",
            self.project.file.name,
            settings.host,
        )

    def around(self, ours: ASGIApp) -> ASGIApp:
        """Our application, with the project's before it and what browsers are told around both."""
        both = ours if self.app is None else BesideUsers(self.app, ours)
        return both if self.cors is None else CorsGate(both, self.cors)


def what_is_served(settings: Settings) -> Served:
    """Imports the users' code. Raises InvalidValue, in one line that says where, what and what to do."""
    project = project_of(settings)
    if project is None:
        graphs = load_graphs(settings.agents, model=settings.model, model_base_url=settings.model_base_url)
        return Served(graphs)
    for line in (*set_variables(project), *make_importable(project)):
        log.warning("%s", line)
    if project.ignored:
        log.info("%s: without meaning here: %s", project.file.name, ", ".join(project.ignored))
    graphs = [_graph(project, name, entry) for name, entry in project.graphs().items()]
    return Served(
        with_bundled(graphs, settings.model, settings.model_base_url),
        project,
        index=index_of(project),
        auth=_auth(project),
        app=_app(project),
    )


def project_of(settings: Settings) -> Project | None:
    """The project to serve: the one that is named, or that of this folder if no agents are. Raises InvalidValue."""
    if settings.config is None:
        here = Path(NAME)
        if not here.is_file():
            return None
        if settings.agents:
            log.info("%s of this folder is not served, because agents are named", NAME)
            return None
        return read_project(here)
    if settings.agents:
        raise InvalidValue("config", "a project and agents are named: leave out UNBROKEN_CONFIG, or --agent")
    return read_project(settings.config / NAME if settings.config.is_dir() else settings.config)


def _graph(project: Project, name: str, entry: GraphEntry) -> NamedGraph:
    """Raises InvalidValue, which names its key instead of the agent."""
    try:
        return named_graph(name, entry.path, root=project.root, description=entry.description)
    except InvalidValue as error:
        message = str(error).removeprefix(f"{error.field}: ")
        raise InvalidValue(project.key(f"graphs.{name}"), message) from error


def _auth(project: Project) -> Auth | None:
    path = project.entries.auth.path if project.entries.auth else None
    if path is None:
        return None
    label = project.key("auth.path")
    found = variable(label, path, project.root)
    if not isinstance(found, Auth):
        raise InvalidValue(label, f"{path} is a {type(found).__name__}, not a langgraph_sdk.Auth")
    if found._authenticate_handler is None:
        raise InvalidValue(
            label, f"{path} knows nobody: give it a function with @{path.rpartition(':')[2]}.authenticate"
        )
    return found


def _app(project: Project) -> Any:
    path = project.entries.http.app if project.entries.http else None
    if path is None:
        return None
    label = project.key("http.app")
    return checked(label, path, variable(label, path, project.root))
