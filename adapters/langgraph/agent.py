"""One LangGraph graph as an Agent: an event goes in, an answer and everything to commit with it come out."""

from __future__ import annotations

import asyncio
from functools import partial

from langgraph_sdk.runtime import AccessContext

from unbroken.adapters.langgraph.attachments import Attachments
from unbroken.adapters.langgraph.containment import agent_code
from unbroken.adapters.langgraph.conversing import expected_by, said_to
from unbroken.adapters.langgraph.failures import agent_raised
from unbroken.adapters.langgraph.graph_source import RUNS, UPDATES, FixedGraph, GraphSource, GraphUse
from unbroken.adapters.langgraph.habits import Habits
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.messages import GONE_ON
from unbroken.adapters.langgraph.parked import answer_to, response_in, waits_for_someone
from unbroken.adapters.langgraph.recent_heads import AttemptHead, RecentHeads
from unbroken.adapters.langgraph.run_start import config_of, context_of, shape_of
from unbroken.adapters.langgraph.settling import settled
from unbroken.adapters.langgraph.staging import is_call
from unbroken.adapters.langgraph.turn_run import DanglingToolCalls, TurnRun, remembering_nodes
from unbroken.domain.checkpoints import ROOT
from unbroken.domain.errors import BranchGone, UnbrokenError
from unbroken.domain.events import InputResponse, RunStart, StateUpdate
from unbroken.domain.policy import CommitMode, asking_seq
from unbroken.domain.ports.agent import Agent, Attempt
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.files import Files
from unbroken.domain.ports.runs import Runs
from unbroken.domain.session import Claim, SessionKey
from unbroken.domain.turn import Answer, Fork, Settled, Settling

REFUSED = "This call was not carried out: the user refused it."


class LangGraphAgent(Agent):
    """Runs any graph; how a chat speaks to one whose state has no `messages` is told in `conversing`.

    The event's message has the event's id, so giving it twice cannot double it. With `CommitMode.SUPERSTEP` each
    superstep is committed before the next one's nodes start, and a crash repeats only the one it hit.
    """

    def __init__(
        self,
        graph: Graph | GraphSource,
        checkpoints: Checkpoints,
        *,
        commit: CommitMode = CommitMode.SUPERSTEP,
        files: Files | None = None,
        heads: RecentHeads | None = None,
        whole_history: bool = False,
        runs: Runs | None = None,
    ) -> None:
        """`graph`: the one graph, or what makes one for each attempt. `files` None: references to files stay as they
        are. `heads`: what is remembered, shared among agents; None: a memory of its own. `whole_history`: every
        checkpoint is kept, and not only those that something goes on from. `runs`: where an answer finds how the run
        began that asked; None: it is given what a message is."""
        self.source = graph if isinstance(graph, GraphSource) else FixedGraph(graph)
        self.commit = commit
        self._whole = whole_history
        self._checkpoints = checkpoints
        self._files = files
        self._runs = runs
        self._habits = Habits()
        fixed = self.source.fixed
        self._remembering = None if fixed is None else remembering_nodes(fixed)
        self._heads = heads or RecentHeads()

    async def run(self, attempt: Attempt) -> Answer:
        task = asyncio.current_task()
        head = self._head(attempt)
        self._heads.drop(attempt.claim)  # until this attempt has come to an answer
        graph: Graph | None = None
        try:
            former = await self._former(attempt.claim)
            with agent_code():
                async with self.source.open(_use(RUNS, attempt.claim, former)) as graph:
                    run = await self._repaired(graph, attempt, head, former)
                    attempt.gate.check()
                    answer = await run.answer()
        except (UnbrokenError, asyncio.CancelledError):
            raise
        except BaseException as error:  # a node's SystemExit as well: it fails the turn, not the process
            if asyncio.current_task() is not task:
                raise  # the event loop is gone, and this coroutine with it
            attempt.gate.check()
            expected = None if graph is None else expected_by(graph, attempt.claim.event, error)
            raise agent_raised(error, expected) from error
        if head.head is not None:
            self._heads.put(attempt.claim, head.head, head.known)
        return answer

    async def settle(self, settling: Settling) -> Settled:
        self._heads.drop(settling.claim)
        former = await self._former(settling.claim)
        async with self.source.open(_use(UPDATES, settling.claim, former)) as graph:
            return await settled(graph, self._checkpoints, settling)

    def _head(self, attempt: Attempt) -> AttemptHead:
        claim = attempt.claim
        if attempt.fork is not None and not claim.resumes:
            return AttemptHead(self._checkpoints, claim.key.thread_id, dict(attempt.fork.heads)[ROOT])
        return AttemptHead(self._checkpoints, claim.key.thread_id, claim.head, self._heads.get(claim))

    async def _former(self, claim: Claim) -> RunStart | None:
        """How the run began that the event goes on with: the one that asked what a chat answers, or the last one before
        somebody wrote the state. A run brings its own."""
        thread_id, body = claim.key.thread_id, claim.event.body
        if self._runs is None:
            return None
        if isinstance(body, InputResponse):
            return await self._runs.asking(thread_id, asking_seq(body.interrupt_id))
        if isinstance(body, StateUpdate):
            return await self._runs.latest_start(thread_id, below=claim.event.seq)
        return None

    async def _repaired(self, graph: Graph, attempt: Attempt, head: AttemptHead, former: RunStart | None) -> TurnRun:
        """A message that follows unanswered tool calls (it came instead of the answer to a question) is found out
        before any node runs; the run then begins anew, with results for those calls."""
        try:
            return await self._run(graph, attempt, head, former)
        except DanglingToolCalls:
            return await self._run(graph, attempt, self._head(attempt), former, dangling=True)

    async def _run(
        self, graph: Graph, attempt: Attempt, head: AttemptHead, former: RunStart | None, *, dangling: bool = False
    ) -> TurnRun:
        claim = attempt.claim
        attempt.gate.check()
        if attempt.fork is not None and not claim.resumes:
            await self._check(claim, attempt.fork, head)
        attachments = self._attachments(claim.key)
        remembering = remembering_nodes(graph) if self._remembering is None else self._remembering
        run = TurnRun(graph, head, attempt, self._habits, attachments, remembering, whole=self._whole, former=former)
        if claim.resumes:
            await run.resume(commits=self._commits)
        elif attempt.fork is None and (answer := response_in(claim.event.body)) is not None:
            await self._respond(run, answer)
        elif isinstance(claim.event.body, StateUpdate):
            await run.write(claim.event.body)
        elif isinstance(claim.event.body, RunStart) and _goes_on(claim.event.body):
            await run.go_on(claim.event.body, commits=self._commits)
        elif attempt.fork is not None or claim.head is not None or await self._adopted(run):
            # New input: a head that an event left is at rest, whatever its tasks say.
            if dangling and attempt.fork is not None:
                run.begin_there(attempt.fork)
            if dangling or (claim.open_questions and not run.forks):
                await run.history.close_calls(GONE_ON)
            given = said_to(graph, claim.event, run.effect_channels)
            if attachments is not None:
                await attachments.fill(given)
            await run.drive(given, commits=self._commits)
        return run

    def _attachments(self, key: SessionKey) -> Attachments | None:
        if self._files is None:
            return None
        return Attachments(partial(self._files.read, key.user_id, key.thread_id))

    async def _check(self, claim: Claim, fork: Fork, head: AttemptHead) -> None:
        """Raises BranchGone. LangGraph would take a checkpoint that is gone for an empty thread."""
        for checkpoint_ns, id_ in fork.heads:
            if id_ and not is_call(checkpoint_ns) and await head.load(claim.key.thread_id, checkpoint_ns, id_) is None:
                raise BranchGone("the conversation cannot be taken back that far any more")

    async def _respond(self, run: TurnRun, body: InputResponse) -> None:
        answer = answer_to(await run.snapshot(), body, run.effect_channels)
        if answer is not None:
            await run.drive(answer, commits=self._commits)
        else:
            await run.history.close_calls(REFUSED)

    async def _adopted(self, run: TurnRun) -> bool:
        """Whether a thread that another saver may have written takes the new message now.

        A question found open is asked again and never resumed unasked. A crashed run is finished first, in the
        same commit as the new message, or a crash in between would take the one for the other.
        """
        snapshot = await run.snapshot()
        if waits_for_someone(snapshot, run.graph.interrupt_before_nodes, run.graph.interrupt_after_nodes):
            return False
        if snapshot.next:
            await run.drive(None, commits=False)
        return not run.unfinished

    @property
    def _commits(self) -> bool:
        return self.commit is CommitMode.SUPERSTEP


def _goes_on(body: RunStart) -> bool:
    """From where the state stands, without input."""
    return body.command is not None or body.input is None


def _use(access: AccessContext, claim: Claim, former: RunStart | None) -> GraphUse:
    shape = shape_of(claim.event.body, former)
    return GraphUse(access, config_of(claim, former), None if shape is None else context_of(shape, None))
