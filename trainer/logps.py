"""Log-probabilities, entropies and cross-entropies of the tokens that are trained, from any Hugging Face causal LM.

Only the hidden states in front of trained tokens reach the model's head: a hook gathers them on their way, so the
model's own forward stays in charge (adapters, wrappers, soft caps, logit scales). Scores are float32 or better.

The vocabulary's size picks the head. Up to SMALL_VOCABULARY words the logits of the trained positions are made at once:
they fit, and one pass is fastest. Above, logits would be the largest tensor of the update by far, so TRL's chunked head
computes the same figures tile by tile, forward and backward, and N x V never exists. It needs a plain linear head and
computes in float32 at best: float64 models and heads whose logits the model transforms stay with their own logits.

Not covered: packing, left padding, sums over a trajectory (the caller's, in float64).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SMALL_VOCABULARY = 16_384
# Elements of one tile of the chunked head: 4 MiB in float32. The tile's width follows from the number of tokens.
TILE_ELEMENTS = 1 << 20


@dataclass(frozen=True)
class Scores:
    """Per predicted token, (B, T-1) each: place t-1 tells of token t. Zero where the token is not trained. Nats."""

    #: log policy(token). Carries the gradient.
    logps: Tensor
    #: -sum_v p log p. No gradient. None where not asked for.
    entropy: Tensor | None = None
    #: -sum_v p log p_reference. No gradient. None without a reference model.
    cross_entropy: Tensor | None = None


def token_scores(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor,
    trained_mask: Tensor,
    *,
    with_entropy: bool = False,
    reference_model: nn.Module | None = None,
) -> Scores:
    """Scores of the trained tokens.   In: (B, T) ids, (B, T) attention, (B, T) bool: this token is trained.

    Rows are padded on the right. `reference_model` may be `model` itself where that is a peft model: the reference is
    then the model without its adapter. A first token has nothing before it and is never scored.
    """
    if not bool((attention_mask[:, 1:] <= attention_mask[:, :-1]).all()):
        raise ValueError("rows must be padded on the right")
    places = trained_mask[:, 1:].bool()
    # Of a (B, T) table, the row-major places in front of trained tokens.
    index = nn.functional.pad(places, (0, 1)).flatten().nonzero().squeeze(1)
    targets = input_ids[:, 1:][places]
    want_entropy = with_entropy or reference_model is not None

    # A causal row padded on the right never looks at its padding, and attention without a mask takes the fast kernel.
    own = _project(model, input_ids, index)
    logps, entropy = own.scores(targets, want_entropy)
    cross_entropy = None
    if reference_model is not None:
        with torch.no_grad(), _without_adapter(reference_model) if reference_model is model else nullcontext():
            cross_entropy = own.cross_entropy(_project(reference_model, input_ids, index), entropy)

    def spread(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.new_zeros(places.shape).masked_scatter(places, values)

    return Scores(spread(logps), spread(entropy) if with_entropy else None, spread(cross_entropy))


@dataclass(frozen=True)
class _Logits:
    """The logits of N positions, (N, V)."""

    logits: Tensor

    def scores(self, targets: Tensor, want_entropy: bool) -> tuple[Tensor, Tensor | None]:
        logits = _widen(self.logits)
        logps = -nn.functional.cross_entropy(logits, targets, reduction="none")
        if not want_entropy:
            return logps, None
        with torch.no_grad():
            return logps, torch.special.entr(logits.softmax(-1)).sum(-1)

    @torch.no_grad()
    def cross_entropy(self, reference: _Logits, entropy: Tensor) -> Tensor:
        return -(_widen(self.logits).softmax(-1) * _widen(reference.logits).log_softmax(-1)).sum(-1)


@dataclass(frozen=True)
class _Chunked:
    """Hidden states of N positions, (N, H), and the linear head they would go through."""

    hidden: Tensor
    head: nn.Linear

    def scores(self, targets: Tensor, want_entropy: bool) -> tuple[Tensor, Tensor | None]:
        from trl.kernels import ChunkedLogProbFunction

        width = max(256, TILE_ELEMENTS // max(1, min(len(targets), 4096)))
        outputs = ("entropy",) if want_entropy else ()
        logps, entropy, *_ = ChunkedLogProbFunction.apply(
            self.hidden, self.head.weight, self.head.bias, targets, 1.0, width, None, 1.0, outputs
        )
        return logps, None if entropy is None else entropy.detach()

    @torch.no_grad()
    def cross_entropy(self, reference: _Chunked, entropy: Tensor) -> Tensor:
        from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

        # KL(policy || reference) + H(policy)
        own, other = self.head, reference.head
        divergence, _ = ChunkedDivergenceFunction.apply(
            self.hidden, own.weight, own.bias, reference.hidden, other.weight, other.bias, 1.0
        )
        return divergence + entropy


def _project(model: nn.Module, input_ids: Tensor, index: Tensor) -> _Logits | _Chunked:
    head = model.get_output_embeddings()
    if not _chunkable(model, head):
        with _gathered(head, index):
            return _Logits(model(input_ids=input_ids, use_cache=False).logits.squeeze(0))
    with _gathered(head, index, 1) as seen:
        model(input_ids=input_ids, use_cache=False)
    return _Chunked(seen[0], head)


def _chunkable(model: nn.Module, head: nn.Module) -> bool:
    """Whether TRL's head computes what the model would: plain, linear, float32 or narrower, worth it."""
    if type(head) is not nn.Linear or head.out_features <= SMALL_VOCABULARY or head.weight.dtype == torch.float64:
        return False
    return not any(_transforms(model))


def _transforms(model: nn.Module) -> Iterator[bool]:
    """What known architectures do to logits after the head."""
    config = model.config.get_text_config()
    yield getattr(config, "final_logit_softcapping", None) is not None
    for name in ("logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier"):
        yield getattr(config, name, None) not in (None, 1, 1.0)


@contextmanager
def _gathered(head: nn.Module, index: Tensor, keep: int | None = None) -> Iterator[list[Tensor]]:
    """While open, `head` is given only the states at the row-major places `index`, as (1, N, H), or the first `keep`.

    Yields a list that will hold all of them, (N, H).
    """
    seen: list[Tensor] = []

    def gather(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = inputs[0]
        seen.append(hidden.reshape(-1, hidden.shape[-1]).index_select(0, index))
        return (seen[-1][:keep].unsqueeze(0), *inputs[1:])

    handle = head.register_forward_pre_hook(gather)
    try:
        yield seen
    finally:
        handle.remove()


def _without_adapter(model: nn.Module):
    if not hasattr(model, "disable_adapter"):
        raise ValueError("a model is its own reference only where it has an adapter to switch off")
    return model.disable_adapter()


def _widen(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
