"""What is tried again, where and when: the core alone, with a clock of its own."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from causeway_client import ContextNotReached, NotAllowed, OutcomeUnknown, Problem, TooLarge, Unavailable, Unreachable
from causeway_client._calls import Settings
from causeway_client._nodes import Nodes
from causeway_client._sessions import SessionCore, WriteOptions
from causeway_client._steps import Answer, Failure, Outcome, Pause, Program, Request, Result

A, B, C = NODES = ("http://a", "http://b", "http://c")
WRITTEN = b'{"dot":"0.00c0ffee00c0ffee.1","context":"after","durable_on":[0]}'
DONE = Answer(200, {"causal-context": "after"}, WRITTEN)
REFUSED = Failure(sent=False, reason="refused")
LOST = Failure(sent=True, reason="reset")

Answers = Callable[[Request], Answer | Failure]


def no(kind: str, status: int = 503, retry_after: str | None = None, **members: object) -> Answer:
    """Make a refusal."""
    headers = {"content-type": "application/problem+json"}
    if retry_after is not None:
        headers["retry-after"] = retry_after
    return Answer(status, headers, json.dumps({"type": f"/problems/{kind}", **members}).encode())


@dataclass
class World:
    """Performs a program's steps: answers come from a function or in order, and time passes in pauses only."""

    nodes: Sequence[str] = NODES
    now: float = 1000.0
    asked: list[tuple[str, float]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = Settings(Nodes(self.nodes), clock=lambda: self.now, jitter=lambda: 1.0)

    def session(self, context: str | None = None) -> SessionCore:
        """Begin a session."""
        return SessionCore(self.settings, context)

    def run(self, program: Program[Result], answers: Sequence[Answer | Failure] | Answers) -> Result:
        """Perform a program."""
        left = iter(answers) if not callable(answers) else None
        outcome: Outcome = None
        while True:
            try:
                step = program.send(outcome)
            except StopIteration as end:
                result: Result = end.value
                assert left is None or next(left, None) is None, "not all answers were asked for"
                return result
            if isinstance(step, Pause):
                assert step.seconds > 0
                self.now += step.seconds
                outcome = None
                continue
            self.requests.append(step.request)
            self.asked.append((step.request.url[: len(A)], round(self.now - 1000, 3)))
            outcome = next(left) if left is not None else answers(step.request)  # type: ignore[operator]

    def who(self) -> list[str]:
        """Tell who was asked, in order."""
        return [node for node, _ in self.asked]


def write(session: SessionCore, options: WriteOptions | None = None) -> Program[object]:
    """Write a key."""
    return session.set({"k": "v"}, options or WriteOptions())


def header(request: Request, name: str) -> str | None:
    """Look a header up."""
    headers: Mapping[str, str] = request.headers
    return headers.get(name)


def test_who_can_not_be_connected_to_is_left_for_another_and_avoided() -> None:
    world = World()
    session = world.session()
    world.run(write(session), [REFUSED, REFUSED, DONE])
    assert world.asked == [(A, 0), (B, 0), (C, 0)]
    # A session stays where it was answered, and another one does not begin with who is away.
    world.run(write(session), [DONE])
    world.run(write(world.session()), [DONE])
    assert world.who()[3:] == [C, C]
    world.now += 60
    world.run(write(world.session()), [DONE])
    world.run(write(session), [DONE])
    assert world.who()[5:] == [A, C]


def test_each_write_has_one_key_in_all_its_tries_and_the_context_of_its_session() -> None:
    world = World()
    session = world.session("before")
    world.run(write(session), [REFUSED, DONE])
    world.run(write(session), [DONE])
    keys = [header(request, "idempotency-key") for request in world.requests]
    assert keys[0] == keys[1] != keys[2]
    assert [header(request, "causal-context") for request in world.requests] == ["before", "before", "after"]


@pytest.mark.parametrize(
    "unknown", [LOST, no("outcome-unknown", 500), no("internal", 500), no("stopping"), Answer(502, {}, b"")]
)
def test_a_write_that_may_have_been_made_is_sent_to_the_same_node_only(unknown: Answer | Failure) -> None:
    world = World()
    world.run(write(world.session()), [unknown, REFUSED, no("overloaded"), LOST, DONE])
    assert world.who() == [A] * 5
    assert len({header(request, "idempotency-key") for request in world.requests}) == 1


def test_a_write_whose_outcome_stays_unknown_says_so() -> None:
    world = World()
    with pytest.raises(OutcomeUnknown, match="refused") as caught:
        world.run(write(world.session(), WriteOptions(timeout=5)), lambda _: REFUSED if len(world.asked) > 1 else LOST)
    assert (caught.value.node, caught.value.values) == (A, {"k": "v"})
    assert caught.value.idempotency_key == header(world.requests[0], "idempotency-key")
    assert set(world.who()) == {A}
    assert 1003 < world.now <= 1005
    # By hand it can be sent elsewhere.
    options = WriteOptions(idempotency_key=caught.value.idempotency_key)
    world.run(world.session().set(caught.value.values, options), [DONE])
    assert world.who()[-1] == B


def test_a_refusal_does_not_settle_what_was_unknown() -> None:
    world = World()
    with pytest.raises(OutcomeUnknown) as caught:
        world.run(write(world.session()), [LOST, no("token", 401)])
    assert isinstance(caught.value.__cause__, NotAllowed)


def test_a_read_goes_anywhere() -> None:
    world = World()
    found = Answer(200, {"causal-context": "after"}, b'{"keys":[{"key":"k","siblings":[]}],"context":"after"}')
    for unknown in (LOST, no("internal", 500), no("storage-unreadable", 500), Answer(503, {}, b"")):
        assert world.run(world.session().read(["k"], None), [unknown, found])["k"].value is None
        world.now += 100
    assert world.who() == [A, B] * 4


def test_who_takes_no_writes_is_still_read_from() -> None:
    world = World()
    world.run(write(world.session()), [no("draining", retry_after="1"), DONE])
    found = Answer(200, {"causal-context": "after"}, b'{"keys":[{"key":"k","siblings":[]}],"context":"after"}')
    world.run(world.session().read(["k"], None), [found])
    world.run(write(world.session()), [DONE])
    assert world.who() == [A, B, A, B]


def test_retry_after_is_heeded_and_pauses_grow() -> None:
    world = World(nodes=[A])
    world.run(write(world.session()), [no("overloaded", retry_after="2"), REFUSED, REFUSED, REFUSED, DONE])
    assert world.asked == [(A, 0), (A, 2), (A, 2.1), (A, 2.3), (A, 2.7)]


def test_others_are_asked_before_anybody_is_waited_for() -> None:
    world = World()
    busy = no("overloaded", retry_after="1")
    world.run(write(world.session()), [busy, busy, busy, DONE])
    assert world.asked == [(A, 0), (B, 0), (C, 0), (A, 1)]


def test_time_ends_a_call_and_nobody_is_waited_for_in_vain() -> None:
    world = World()
    with pytest.raises(Unreachable) as unreachable:
        world.run(write(world.session()), lambda _: REFUSED)
    assert unreachable.value.reasons == dict.fromkeys(NODES, "refused")
    assert 1007 < world.now <= 1010
    world = World(nodes=[A])
    with pytest.raises(Unavailable) as unavailable:
        world.run(write(world.session()), [no("insufficient-storage", 507, retry_after="10", free=1)])
    assert (unavailable.value.members["free"], world.now) == (1, 1000)


def test_a_refusal_is_final() -> None:
    world = World()
    with pytest.raises(TooLarge) as caught:
        world.run(write(world.session()), [no("value-too-long", 413, limit=5, detail="it is", key="k")])
    error = caught.value
    assert (error.type, error.status, error.members["limit"], error.node) == ("/problems/value-too-long", 413, 5, A)
    with pytest.raises(Problem, match="HTTP status 431") as bare:
        world.run(write(world.session()), [Answer(431, {}, b"")])
    assert bare.value.type == "about:blank"


def test_what_a_node_lacks_of_a_context_may_be_had_of_another_or_of_none() -> None:
    world = World()
    lacks = no("context-not-reached", retry_after="1", lacking=[{"origin": "0.1", "wanted": 1, "obtainable": True}])
    session = world.session("before")
    world.run(write(session), [lacks, DONE])
    assert (world.who(), session.home) == ([A, B], B)
    # That is not the node's fault.
    world.run(write(world.session()), [DONE])
    assert world.who()[-1] == A
    lost = no("context-not-reached", lacking=[{"origin": "0.1", "wanted": 1, "obtainable": False}])
    with pytest.raises(ContextNotReached) as caught:
        world.run(write(session), [lost])
    assert not caught.value.obtainable
    assert caught.value.lacking[0]["origin"] == "0.1"


def test_a_node_may_wait_as_long_as_there_is_time_for_its_answer() -> None:
    world = World()
    world.run(write(world.session(), WriteOptions(acks="all", wait=60)), [DONE])
    world.run(write(world.session(), WriteOptions(acks=2, wait=5, timeout=2)), [DONE])
    world.run(write(world.session()), [DONE])
    world.run(write(world.session("before"), WriteOptions(wait=0.5)), [DONE])
    world.run(write(world.session("before"), WriteOptions(wait=4)), [DONE])
    first, second, third, fourth, fifth = world.requests
    assert (header(fourth, "prefer"), fourth.answer_within) == ("wait=0.500", 3)
    assert (header(fifth, "prefer"), fifth.answer_within) == ("wait=4.000", 5)
    assert (header(first, "prefer"), first.answer_within) == ("wait=9.000", 10)
    assert (header(second, "prefer"), second.answer_within) == ("wait=1.500", 2)
    assert (header(third, "prefer"), third.answer_within) == (None, 3)
    assert [request.url for request in world.requests[:3]] == [f"{A}/set?acks=all", f"{A}/set?acks=2", f"{A}/set"]


def test_an_update_merges_again_when_siblings_came_in_between() -> None:
    world = World()

    def found(*values: str) -> Answer:
        times = {"written_at": "2026-11-24T14:08:11.532Z", "arrival": 1}
        siblings = [{"value": value, "dot": "0.1.1", "node": 0, **times} for value in values]
        body = {"keys": [{"key": "k", "siblings": siblings}], "context": "seen"}
        return Answer(200, {"causal-context": f"seen {len(values)}"}, json.dumps(body).encode())

    program = world.session().update("k", "+".join, None, WriteOptions())
    written = world.run(program, [found("a", "b"), no("too-many-siblings", 409), found("a", "b", "c"), DONE])
    assert written.value == "a+b+c"
    reads, writes = world.requests[0::2], world.requests[1::2]
    assert [header(request, "causal-context") for request in writes] == ["seen 2", "seen 3"]
    assert len({header(request, "idempotency-key") for request in writes}) == 2
    assert [json.loads(request.body) for request in reads] == [{"keys": ["k"]}] * 2


def test_it_says_who_it_is() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    world = World()
    world.run(write(world.session()), [DONE])
    assert header(world.requests[0], "user-agent") == f"{project['name']}/{project['version']}"


def test_settings_that_can_not_be_are_refused() -> None:
    for urls in ([], ["localhost:8000"], ["ftp://a"], ["http://"], ["http://a?b"]):
        with pytest.raises(ValueError, match="node"):
            Nodes(urls)
    assert Nodes(["http://a/", "http://a", "https://b/x/"]).urls == ("http://a", "https://b/x")
    for timeout in (0, -1, 301):
        with pytest.raises(ValueError, match="timeout"):
            Settings(Nodes(A), timeout=timeout)
