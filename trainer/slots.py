"""Forward passes over slots: each slot keeps the keys and values of one conversation.

A step runs any number of `Piece`s at once: the tokens of all of them lie one after the other in one row of the batch,
so there is no padding; linear layers see them together, attention goes back to each piece's own slot. One new token
(decoding) and a long prompt (prefill) are the same thing. `SlotRunner` puts this into any transformers model through
its two public hooks, a `Cache` and an attention function; before it is used `open_runner` compares its logits with the
plain model's, and takes `PlainRunner`, one `DynamicCache` per slot and one forward per piece, where they differ.

Not covered: memory of sliding windows (a windowed layer keeps all keys and masks the old ones) and paging: a slot's
rows are as long as the longest conversation seen, rounded up to a power of two.
"""

from __future__ import annotations

import inspect
import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

FIRST_ROWS = 256
TOLERANCE = 1e-3
"""Largest difference of logits, relative to their spread, at which the slots count as equal to the plain model."""

_names = itertools.count()


@dataclass(frozen=True)
class Piece:
    """New tokens of one slot: `ids` take the positions from `start` on, where `start` tokens are known already."""

    slot: int
    start: int
    ids: list[int]

    @property
    def end(self) -> int:
        return self.start + len(self.ids)


class Step:
    """What one forward pass needs to know: which tokens of the packed row belong where. Shared by all layers."""

    def __init__(self, pieces: list[Piece], rows: int, device: torch.device) -> None:
        self.device, self.rows = device, rows
        positions = [position for piece in pieces for position in range(piece.start, piece.end)]
        slots = [piece.slot for piece in pieces for _ in piece.ids]
        self.ids = torch.tensor([[token for piece in pieces for token in piece.ids]], device=device)
        self.positions = torch.tensor([positions], device=device)
        self.slots = torch.tensor(slots, device=device)
        ends = list(itertools.accumulate(len(piece.ids) for piece in pieces))
        self.last = torch.tensor(ends, device=device) - 1
        self.spans = _spans(pieces)
        self._bias: dict[tuple[int, int, int | None, torch.dtype], torch.Tensor | None] = {}
        self._targets: dict[int, torch.Tensor] = {}

    def targets(self, heads: int) -> torch.Tensor:
        """Rows of a (slots * heads * rows, width) tensor that the packed tokens go to, (heads * tokens)."""
        if heads not in self._targets:
            head = torch.arange(heads, device=self.device)[:, None]
            self._targets[heads] = ((self.slots * heads + head) * self.rows + self.positions[0]).view(-1)
        return self._targets[heads]

    def bias(self, span: Span, groups: int, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
        """Added to the scores of a span, -inf = not seen: (slots, 1, groups * tokens of a slot, keys); None = all."""
        key = (span.first, groups, window, dtype)
        if key not in self._bias:
            query = self.positions[0, span.first : span.first + span.tokens].view(span.slots, 1, -1, 1)
            known = torch.arange(span.keys, device=self.device)
            hidden = known > query
            if window is not None:
                hidden |= known <= query - window
            bias = torch.zeros(hidden.shape, dtype=dtype, device=self.device).masked_fill_(hidden, -torch.inf)
            bias = bias if span.tokens == span.slots else bias.repeat(1, 1, groups, 1)
            self._bias[key] = bias if span.slots * span.tokens > 1 or window is not None else None
        return self._bias[key]


@dataclass(frozen=True)
class Span:
    """Pieces that attention takes together: one piece, or single tokens of slots that lie side by side."""

    first: int
    """Place of its first token in the packed row."""
    tokens: int
    slot: int
    slots: int
    keys: int
    """Positions to look at: the longest of its conversations."""


def _spans(pieces: list[Piece]) -> list[Span]:
    spans: list[Span] = []
    first = 0
    for piece in pieces:
        size, last = len(piece.ids), spans[-1] if spans else None
        if last and size == 1 and last.tokens == last.slots and last.slot + last.slots == piece.slot:
            spans[-1] = Span(last.first, last.tokens + 1, last.slot, last.slots + 1, max(last.keys, piece.end))
        else:
            spans.append(Span(first, size, piece.slot, 1, piece.end))
        first += size
    return spans


class SlotLayer(CacheLayerMixin):
    """Keys and values of one layer, (slots, heads, rows, width) each."""

    is_sliding = False

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots = slots
        self.step: Step | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys, self.values = (self._room(states, self.step.rows) for states in (key_states, value_states))
        self.is_initialized = True

    def _room(self, like: torch.Tensor, rows: int) -> torch.Tensor:
        return like.new_zeros(self.slots, like.shape[1], rows, like.shape[3])

    def grow(self, rows: int) -> None:
        if not self.is_initialized or self.keys.shape[2] >= rows:
            return
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = self._room(old, rows)
            new[:, :, : old.shape[2]] = old
            setattr(self, name, new)

    def forget(self) -> None:
        self.keys = self.values = None
        self.is_initialized = False

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object):
        """Stores the packed tokens, (1, heads, tokens, width), and returns the rows of all slots."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        for rows, states in ((self.keys, key_states), (self.values, value_states)):
            _, heads, _, width = states.shape
            rows.view(-1, width).index_copy_(0, self.step.targets(heads), states.reshape(-1, width))
        return self.keys, self.values

    # Masks and positions come from the step, never from the length of a cache that holds many conversations.
    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


class SlotRunner:
    """Runs pieces of many slots in one forward pass of the model."""

    can_rewind = True
    """A slot can be cut, and copied in part: what is behind `start` is forgotten."""

    def __init__(self, model: PreTrainedModel, slots: int) -> None:
        config = model.config.get_text_config()
        self.model, self.slots = model, slots
        self.layers = [SlotLayer(slots) for _ in range(config.num_hidden_layers)]
        self.cache = Cache(layers=self.layers)
        self.rows = FIRST_ROWS
        self.step: Step | None = None
        self.attention = f"slots{next(_names)}"
        AttentionInterface.register(self.attention, self._attend)
        model.set_attn_implementation(self.attention)

    def extend(self, pieces: list[Piece]) -> torch.Tensor:
        """Stores the pieces' tokens and returns the logits after the last one of each, float32 (pieces, vocabulary).

        Pieces come in the order of their slots, at most one a slot.
        """
        while self.rows < max(piece.end for piece in pieces):
            self.rows *= 2
        self.step = Step(pieces, self.rows, self.model.device)
        for layer in self.layers:
            layer.grow(self.rows)
            layer.step = self.step
        output = self.model(
            input_ids=self.step.ids,
            position_ids=self.step.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=self.step.last,
        )
        return output.logits[0].float()

    def copy(self, source: int, target: int, length: int) -> None:
        """Gives `target` the first `length` positions of `source`."""
        for layer in self.layers:
            for rows in (layer.keys, layer.values):
                rows[target, :, :length] = rows[source, :, :length]

    def forget(self) -> None:
        """Empties every slot and gives back its memory: also after a step that failed for want of it."""
        self.rows = FIRST_ROWS
        for layer in self.layers:
            layer.forget()

    def _attend(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: torch.Tensor | None = None,
        **_: object,
    ) -> tuple[torch.Tensor, None]:
        """Attention of the packed queries (1, heads, tokens, width) to their own slots: (1, tokens, heads, width)."""
        if s_aux is not None:
            raise NotImplementedError("attention sinks")
        queries = query[0].transpose(0, 1)
        groups = query.shape[1] // key.shape[1]
        found = []
        for span in self.step.spans:
            rows = slice(span.slot, span.slot + span.slots)
            # Query heads that share a key head stand side by side, so no key is copied: (slots, key heads, .., width).
            q = queries[span.first : span.first + span.tokens].unflatten(0, (span.slots, -1)).transpose(1, 2)
            shape = q.shape[:3]
            q = q.reshape(span.slots, key.shape[1], -1, q.shape[-1])
            bias = self.step.bias(span, groups, sliding_window, query.dtype)
            out = _attention(q, key[rows, :, : span.keys], value[rows, :, : span.keys], bias, scaling, softcap)
            found.append(out.reshape(*shape, -1).transpose(1, 2).flatten(0, 1))
        return (found[0] if len(found) == 1 else torch.cat(found))[None], None


def _attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    bias: torch.Tensor | None,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    if softcap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scaling)
    scores = q @ k.transpose(2, 3) * (scaling if scaling is not None else q.shape[-1] ** -0.5)
    scores = softcap * torch.tanh(scores / softcap)
    scores = scores if bias is None else scores + bias
    return scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v


class PlainRunner:
    """One `DynamicCache` per slot and one forward per piece: slower, for every model that can generate."""

    can_rewind = False
    """A conversation is only ever continued: what these caches hold cannot always be cut."""

    def __init__(self, model: PreTrainedModel, slots: int) -> None:
        self.model, self.slots = model, slots
        self.caches: list[Cache | None] = [None] * slots
        names = inspect.signature(model.forward).parameters
        self.name = "cache_params" if "cache_params" in names else "past_key_values"

    def extend(self, pieces: list[Piece]) -> torch.Tensor:
        return torch.stack([self._extend(piece) for piece in pieces])

    def forget(self) -> None:
        """Empties every slot."""
        self.caches = [None] * self.slots

    def _extend(self, piece: Piece) -> torch.Tensor:
        if piece.start == 0:
            self.caches[piece.slot] = DynamicCache(config=self.model.config)
        # A recurrent layer takes up its state only for a single token; several begin anew.
        single = piece.start > 0 and any(self.caches[piece.slot].is_linear)
        for ids in [[token] for token in piece.ids] if single else [piece.ids]:
            output = self.model(
                input_ids=torch.tensor([ids], device=self.model.device),
                use_cache=True,
                **{self.name: self.caches[piece.slot]},
            )
        return output.logits[0, -1].float()


@torch.inference_mode()
def open_runner(model: PreTrainedModel, slots: int) -> tuple[SlotRunner | PlainRunner, str | None]:
    """The runner for this model, and why it is the plain one, or None."""
    own = model.config._attn_implementation
    reason = _unfit(model)
    if reason is None:
        ids = [token % model.config.get_text_config().vocab_size for token in range(3, 3 + 12 * 7, 7)]
        plain = model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1].float()
        try:
            reason = _differs(SlotRunner(model, 3), ids, plain)
            if reason is None:
                return SlotRunner(model, slots), None
        except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
        model.set_attn_implementation(own)
    return PlainRunner(model, slots), reason


def _unfit(model: PreTrainedModel) -> str | None:
    config = model.config.get_text_config()
    others = set(getattr(config, "layer_types", None) or []) - {"full_attention", "sliding_attention"}
    if others:
        return f"layers of type {', '.join(sorted(others))}"
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = {str(entry.get("rope_type")) for entry in [rope, *rope.values()] if isinstance(entry, dict)}
    # Their frequencies depend on the longest conversation of the batch.
    if kinds & {"dynamic", "longrope"}:
        return "rotary positions that depend on the length of the batch"
    return None if model._supports_attention_backend else "no attention interface"


def _differs(runner: SlotRunner, ids: list[int], plain: torch.Tensor) -> str | None:
    """Two conversations at once, one continued, one copied and continued by single tokens, against the plain model."""
    runner.extend([Piece(0, 0, ids[:5]), Piece(2, 0, ids)])
    runner.copy(0, 1, 4)
    runner.extend([Piece(0, 5, ids[5:-1]), Piece(1, 4, ids[4:-1])])
    last = len(ids) - 1
    logits = runner.extend([Piece(slot, last, ids[-1:]) for slot in range(3)])
    distance = float((logits - plain).abs().max() / plain.std().clamp(min=1e-6))
    return None if distance <= TOLERANCE else f"logits differ from the plain model's by {distance:.2g}"
