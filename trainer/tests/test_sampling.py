"""Drawing tokens: what the filters keep, whose numbers decide, what is reported."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.sampling import Draw, Sampling, _draw, filtered, sample

# Probabilities .5 .25 .15 .1 out of order: tokens 2, 0, 3, 1.
PROBABILITIES = torch.tensor([0.25, 0.1, 0.5, 0.15], dtype=torch.float64)


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(), {0, 1, 2, 3}),
        (Sampling(top_k=1), {2}),
        (Sampling(top_k=3), {2, 0, 3}),
        (Sampling(top_k=99), {0, 1, 2, 3}),
        (Sampling(top_p=0.5), {2}),
        (Sampling(top_p=0.51), {2, 0}),
        (Sampling(top_p=0.9), {2, 0, 3}),
        (Sampling(top_p=1e-9), {2}),
        (Sampling(min_p=0.4), {2, 0}),
        (Sampling(min_p=1.0), {2}),
        # Of the two that top-k leaves, .5 is two thirds: top-p looks at what is left.
        (Sampling(top_k=2, top_p=0.6), {2}),
        (Sampling(top_k=2, top_p=0.7), {2, 0}),
        (Sampling(min_p=0.25, top_p=0.8), {2, 0}),
    ],
)
def test_filters_keep_the_likeliest_tokens_and_their_odds(sampling: Sampling, kept: set[int]) -> None:
    left = filtered(PROBABILITIES.clone(), sampling)
    assert set(left.nonzero()[:, 0].tolist()) == kept
    assert all(left[token] == PROBABILITIES[token] for token in kept)


def test_a_place_in_the_cumulated_distribution_decides_the_token() -> None:
    places = torch.tensor([0.0, 0.2499, 0.25, 0.3499, 0.35, 0.8499, 0.85, 1 - 2**-53], dtype=torch.float64)
    rows = PROBABILITIES.expand(len(places), -1)
    assert _draw(rows, places).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda row: sum(row) > 1e-3),
    st.floats(0, 1, exclude_max=True),
)
def test_a_token_of_probability_zero_is_never_drawn(row: list[float], place: float) -> None:
    token = _draw(torch.tensor([row], dtype=torch.float64), torch.tensor([place], dtype=torch.float64))
    assert row[int(token)] > 0


def test_frequencies_follow_temperature() -> None:
    # Odds of e^(1/T): at T = .5 the second token is drawn e^2 times as often as the first.
    logits = torch.tensor([[0.0, 1.0]])
    draw = Draw(Sampling(temperature=0.5, seed=3))
    drawn = [sample(logits, [draw])[0].token for _ in range(4000)]
    share = math.exp(2) / (1 + math.exp(2))
    assert abs(sum(drawn) / 4000 - share) < 4 * math.sqrt(share * (1 - share) / 4000)


def test_log_probabilities_are_the_models_own_whatever_was_filtered() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    draws = [
        Draw(Sampling(temperature=0.0, top_logprobs=3)),
        Draw(Sampling(temperature=0.3, top_k=2, seed=1)),
        Draw(Sampling(temperature=5.0, seed=2, top_logprobs=1)),
    ]
    own = logits.log_softmax(-1)
    rows = sample(logits, draws)
    assert rows[0].token == int(logits[0].argmax())
    for row, sampled in enumerate(rows):
        assert sampled.log_prob == pytest.approx(float(own[row, sampled.token]))
    assert [len(sampled.top) for sampled in rows] == [3, 0, 1]
    values, tokens = own[0].topk(3)
    assert [token for token, _ in rows[0].top] == tokens.tolist()
    assert [value for _, value in rows[0].top] == pytest.approx(values.tolist())


def test_a_draw_depends_on_its_own_seed_and_logits_not_on_its_company() -> None:
    logits = torch.randn(16, 50, generator=torch.Generator().manual_seed(0))
    settings = [Sampling(temperature=row / 8, top_k=row % 4, top_p=1 - row / 32, seed=row) for row in range(16)]
    together = sample(logits, [Draw(entry) for entry in settings])
    alone = [sample(logits[row : row + 1], [Draw(entry)])[0] for row, entry in enumerate(settings)]
    assert [entry.token for entry in together] == [entry.token for entry in alone]


def test_another_seed_and_no_seed_give_other_samples() -> None:
    logits = torch.zeros(1, 1000)

    def tokens(seed: int | None) -> list[int]:
        draw = Draw(Sampling(seed=seed))
        return [sample(logits, [draw])[0].token for _ in range(20)]

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)
    assert tokens(None) != tokens(None)
