"""From logits to the next token, for many requests at once.

Each request draws one uniform number a token from its own generator and takes the token at that place of its cumulated
distribution. So a sample depends on the request's seed and its logits alone. Logits of the same conversation differ by
rounding with the company they were computed in (about 1e-6); where a draw falls that close to the border between two
tokens, or two logits tie that closely at temperature 0, the sample depends on the company after all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Sampling:
    """How a request draws. Filters act in the order min-p, top-k, top-p on the tempered distribution, as in vLLM."""

    temperature: float = 1.0
    """0 = the likeliest token, without a draw."""
    top_p: float = 1.0
    """Smallest set of likeliest tokens that holds this probability, in (0, 1]."""
    top_k: int = 0
    """Number of likeliest tokens kept; 0 = all."""
    min_p: float = 0.0
    """Least probability relative to the likeliest token's, in [0, 1]."""
    seed: int | None = None
    """None = a different sample each time."""
    top_logprobs: int = 0
    """How many of the likeliest tokens to report beside the sampled one."""

    @property
    def filters(self) -> bool:
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0


@dataclass
class Draw:
    """A request's sampling and where its generator stands."""

    sampling: Sampling
    generator: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.generator = random.Random(self.sampling.seed)


@dataclass(frozen=True)
class Sampled:
    """One token. Log-probabilities (nats) are of the model's own distribution: before temperature and filters."""

    token: int
    log_prob: float
    top: tuple[tuple[int, float], ...] = ()


def sample(logits: torch.Tensor, draws: list[Draw]) -> list[Sampled]:
    """One token for each row of logits, (requests, vocabulary) float32."""
    temperatures = [draw.sampling.temperature for draw in draws]
    tokens = logits.argmax(-1)
    if any(temperatures):
        places = [draw.generator.random() if draw.sampling.temperature else 0.0 for draw in draws]
        drawn = _draw(_tempered(logits, draws), torch.tensor(places, device=logits.device, dtype=torch.float64))
        greedy = torch.tensor([not temperature for temperature in temperatures], device=logits.device)
        tokens = torch.where(greedy, tokens, drawn)
    own = logits.log_softmax(-1)
    log_probs = own.gather(1, tokens[:, None])[:, 0].tolist()
    most = max(draw.sampling.top_logprobs for draw in draws)
    tops: list[tuple[tuple[int, float], ...]] = [()] * len(draws)
    if most:
        values, indices = (tensor.tolist() for tensor in own.topk(min(most, own.shape[1])))
        tops = [tuple(zip(i, v))[: draw.sampling.top_logprobs] for i, v, draw in zip(indices, values, draws)]
    return [Sampled(*entry) for entry in zip(tokens.tolist(), log_probs, tops)]


def _tempered(logits: torch.Tensor, draws: list[Draw]) -> torch.Tensor:
    """Probabilities to draw from, float64; a row that is greedy is left as it is."""
    divisors = torch.tensor([draw.sampling.temperature or 1.0 for draw in draws], device=logits.device)
    probabilities = (logits.double() / divisors[:, None]).softmax(-1)
    for row, draw in enumerate(draws):
        if draw.sampling.filters and draw.sampling.temperature:
            probabilities[row] = filtered(probabilities[row], draw.sampling)
    return probabilities


def filtered(probabilities: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Sets the probabilities (vocabulary,) of tokens that the filters remove to 0; the sum may then be below 1."""
    kept = probabilities
    if sampling.min_p > 0:
        kept = kept.where(kept >= sampling.min_p * kept.max(), 0)
    if sampling.top_k > 0 or sampling.top_p < 1:
        values, order = kept.sort(descending=True, stable=True)
        if 0 < sampling.top_k < len(values):
            values[sampling.top_k :] = 0
        if sampling.top_p < 1:
            before = values.cumsum(0) - values
            values = values.where(before < sampling.top_p * values.sum(), 0)
        kept = torch.zeros_like(kept).scatter(0, order, values)
    return kept


def _draw(probabilities: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The token at each place, in [0, 1), of the cumulated rows; never one of probability 0."""
    cumulated = probabilities.cumsum(-1)
    total = cumulated[:, -1:].contiguous()
    found = torch.searchsorted(cumulated, places[:, None] * total, right=True)
    return found.minimum(torch.searchsorted(cumulated, total))[:, 0]
