"""Dynamic batching: requests join and leave at every step of one thread that owns the model.

A request gets a slot, and the slot keeps its tokens after it, so the next turn of a rollout, whose prompt begins with
them, is continued where it stands; a prompt that begins like another slot's (the samples of one task) copies that
part. What is left of the prompts is computed together with the next tokens of the requests that are already writing.
When no slot is free the requests wait in order; the slot used longest ago is given away.

Not covered: streaming, more than one choice a request, priorities.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import numpy as np
import torch

from trainer.sampling import Draw, Sampled, Sampling, sample
from trainer.slots import Piece, PlainRunner, SlotRunner

STEP_TOKENS = 512
"""Prompt tokens computed in one step: more delays those that are writing, fewer wastes the pass."""
WORTH_WAITING = 16
"""A prompt waits for another's that is being computed if that saves at least so many tokens."""


class Unavailable(Exception):
    """The engine stopped, or failed, before the request was done."""


class NotFinite(Exception):
    """The model's logits for this conversation hold NaN or infinity: asking again does not help."""


@dataclass(frozen=True)
class Completion:
    """Sampled tokens, the end token included where it was sampled, and why they end."""

    tokens: list[Sampled]
    finish: str
    """`stop`: end token or stop text; `length`: limit reached."""
    cached: int
    """Prompt tokens that were not computed again."""


@dataclass
class Request:
    """A prompt to continue by at most `max_tokens`, which must fit into the context together."""

    ids: list[int]
    max_tokens: int
    sampling: Sampling
    ended: Callable[[list[int]], bool] | None = None
    """Told the sampled ids after each token, it may end the request: stop texts."""
    done: Future[Completion] = field(default_factory=Future)


@dataclass
class _Running:
    request: Request
    slot: int
    cached: int
    draw: Draw
    tokens: list[Sampled] = field(default_factory=list)


class _Slots:
    """Which tokens each slot holds: `known` were given to it, `computed` of them have their keys and values."""

    def __init__(self, count: int) -> None:
        self.ids = np.zeros((count, 256), np.int64)
        self.known = np.zeros(count, np.int64)
        self.computed = np.zeros(count, np.int64)
        self.used = np.zeros(count, np.int64)
        self.clock = 0

    def common(self, ids: np.ndarray) -> np.ndarray:
        """Length of the prefix that each slot's known tokens share with `ids`."""
        width = min(len(ids), self.ids.shape[1])
        differs = self.ids[:, :width] != ids[:width]
        first = np.where(differs.any(1), differs.argmax(1), width) if width else 0
        return np.minimum(first, self.known)

    def put(self, slot: int, start: int, ids: list[int] | np.ndarray) -> None:
        """Replaces what the slot knows from `start` on."""
        end = start + len(ids)
        while self.ids.shape[1] < end:
            self.ids = np.pad(self.ids, ((0, 0), (0, self.ids.shape[1])))
        self.ids[slot, start:end] = ids
        self.known[slot] = end
        self.computed[slot] = min(self.computed[slot], start)

    def rest(self, slot: int) -> int:
        return int(self.known[slot] - self.computed[slot])

    def leave(self, slot: int) -> None:
        self.clock += 1
        self.used[slot] = self.clock
        self.known[slot] = self.computed[slot]


class Engine:
    """Runs requests until it is closed. `context` is the longest conversation in tokens, reply included."""

    def __init__(self, runner: SlotRunner | PlainRunner, context: int, end_ids: frozenset[int]) -> None:
        self.runner, self.context, self.end_ids = runner, context, end_ids
        self._inbox: deque[Request] = deque()
        self._waiting: deque[Request] = deque()
        self._running: dict[int, _Running] = {}
        self._slots = _Slots(runner.slots)
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> Future[Completion]:
        """Cancelling the future takes the request out at the next step."""
        if not request.ids or request.max_tokens < 1 or len(request.ids) + request.max_tokens > self.context:
            raise ValueError(f"{len(request.ids)} + {request.max_tokens} tokens do not fit into {self.context}")
        with self._wake:
            if self._closed:
                raise Unavailable("the engine is closed")
            self._inbox.append(request)
            self._wake.notify()
        return request.done

    def close(self) -> None:
        """Ends at the next step; requests that are not done fail with `Unavailable`."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    @torch.inference_mode()
    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._closed or self._inbox or self._waiting or self._running):
                    self._wake.wait()
                if self._closed:
                    break
                self._waiting.extend(self._inbox)
                self._inbox.clear()
            try:
                self._step()
            except Exception as error:  # a model that fails must not take the thread with it: nobody would be answered
                self._fail(error)
        self._waiting.extend(self._inbox)
        self._fail(Unavailable("the server is stopping"))

    def _fail(self, error: Exception) -> None:
        failure = error if isinstance(error, Unavailable) else Unavailable(f"{type(error).__name__}: {error}")
        for request in [running.request for running in self._running.values()] + list(self._waiting):
            _settle(request, failure)
        self._running.clear()
        self._waiting.clear()
        self._slots = _Slots(self.runner.slots)
        self.runner.forget()

    def _step(self) -> None:
        for running in [running for running in self._running.values() if running.request.done.cancelled()]:
            self._leave(running)
        self._admit()
        pieces = self._pieces()
        if not pieces:
            return
        logits = self.runner.extend(pieces)
        for piece in pieces:
            self._slots.computed[piece.slot] = piece.end
        rows = [row for row, piece in enumerate(pieces) if self._slots.rest(piece.slot) == 0]
        writing = [self._running[pieces[row].slot] for row in rows]
        if not writing:
            return
        logits = logits if len(rows) == len(pieces) else logits[rows]
        finite = logits.amax(-1).isfinite()  # -inf alone is a token that the model rules out
        if not finite.all():
            for running in [running for running, fine in zip(writing, finite.tolist()) if not fine]:
                self._leave(running)
                _settle(running.request, NotFinite("the model's logits are not finite: its weights are broken"))
            writing = [running for running, fine in zip(writing, finite.tolist()) if fine]
            logits = logits[finite]
        for running, token in zip(writing, sample(logits, [running.draw for running in writing])):
            self._take(running, token)

    def _take(self, running: _Running, token: Sampled) -> None:
        request = running.request
        running.tokens.append(token)
        ended = request.ended is not None and request.ended([sampled.token for sampled in running.tokens])
        if ended or token.token in self.end_ids:
            finish = "stop"
        elif len(running.tokens) == request.max_tokens:
            finish = "length"
        else:
            self._slots.put(running.slot, int(self._slots.known[running.slot]), [token.token])
            return
        self._leave(running)
        _settle(request, Completion(running.tokens, finish, running.cached))

    def _leave(self, running: _Running) -> None:
        del self._running[running.slot]
        self._slots.leave(running.slot)

    def _pieces(self) -> list[Piece]:
        """The next token of all that write, and as much of the prompts, oldest first, as a step takes."""
        slots, room, pieces = self._slots, STEP_TOKENS, []
        for slot in self._running:
            rest = slots.rest(slot)
            size = rest if rest == 1 else min(rest, room)
            if size == 0:
                continue
            room -= size if rest > 1 else 0
            start = int(slots.computed[slot])
            pieces.append(Piece(slot, start, slots.ids[slot, start : start + size].tolist()))
        return sorted(pieces, key=lambda piece: piece.slot)

    def _admit(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            if request.done.cancelled():
                continue
            place = self._place(request) if len(self._running) < self.runner.slots else None
            if place is None:
                self._waiting.append(request)
                continue
            slot, start = place
            self._slots.put(slot, start, request.ids[start:])
            self._running[slot] = _Running(request, slot, start, Draw(request.sampling))

    def _place(self, request: Request) -> tuple[int, int] | None:
        """A free slot and how many tokens of the prompt it holds; None = worth waiting for another prompt."""
        slots = self._slots
        # The last token is always computed: the reply begins with its logits.
        common = slots.common(np.asarray(request.ids[:-1]))
        free = np.array([slot not in self._running for slot in range(self.runner.slots)])
        whole = np.where(free & (common == slots.known), common, -1)
        best = int(whole.argmax())
        ready = np.minimum(common, slots.computed)
        source = int(ready.argmax())
        held = int(ready[source])
        if self.runner.can_rewind and common.max() >= max(held, whole[best]) + WORTH_WAITING:
            return None
        if whole[best] > 0 and (whole[best] >= held or not self.runner.can_rewind):
            return best, int(whole[best])
        target = int(np.where(free, slots.used, np.iinfo(np.int64).max).argmin())
        if not self.runner.can_rewind:
            held = 0
        elif held > 0 and target != source:
            self.runner.copy(source, target, held)
        slots.computed[target] = held
        slots.ids[target, :held] = request.ids[:held]
        return target, held


def _settle(request: Request, outcome: Completion | Exception) -> None:
    try:
        if isinstance(outcome, Exception):
            request.done.set_exception(outcome)
        else:
            request.done.set_result(outcome)
    except InvalidStateError:
        pass  # cancelled in the meantime
