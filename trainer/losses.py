"""The objectives, on log-probabilities that someone else computed.

A trajectory has one log-probability: the sum over the tokens that the policy itself wrote, in every turn. Notation of
docs/method.md: u = alpha * logp - beta * ref_logp, alpha = lambda + beta, so alpha weighs entropy and beta the
cross-entropy to the reference. alpha == beta is plain DPO or KTO. Everything is in nats; B rows, T - 1 predictions.

Pure tensors: no model, no batches, no state. Not covered: where log-probabilities come from (logps.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from trainer.program import BadInput

BASELINES = ("exact", "mismatched", "batch", "sampled", "zero")


def sft_loss(token_logps: Tensor, mask: Tensor, tokens: int | Tensor | None = None) -> Tensor:
    """Mean negative log-probability of a trained token, nats.   In: (B, T-1), (B, T-1) bool. Out: ().

    `tokens` is the number to divide by, where the batch is a part of a larger one (accumulation): the number of trained
    tokens of the whole. Default: those of this batch. A batch without trained tokens gives 0.
    """
    total = (token_logps * mask).sum()
    return -total / (mask.sum().clamp(min=1) if tokens is None else tokens)


def entropo_dpo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_chosen_logps: Tensor,
    ref_rejected_logps: Tensor,
    alpha: float,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """-log sigmoid(logit), logit = u_chosen - u_rejected.   In: (B,) nats each. Out: loss (B,), logit (B,).

    |logit| > 5 is a saturated row: above 5 its gradient is below 0.7 % of its largest. Where policy and reference agree
    the logit is (alpha - beta) * (logp_chosen - logp_rejected): lengths alone saturate it.
    Source: arXiv 2509.12434 §3.2.
    """
    logit = alpha * (chosen_logps - rejected_logps) - beta * (ref_chosen_logps - ref_rejected_logps)
    return -logsigmoid(logit), logit


def entropo_kto_loss(
    logps: Tensor,
    ref_logps: Tensor,
    desirable: Tensor,
    baseline: Tensor | float,
    alpha: float,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """w * (1 - sigmoid(±(reward - z))), reward = u, + for desirable rows: the paper's form.   Out: loss, reward (B,).

    `baseline` z, (B,) or (), is in units of reward (alpha * z0 of the paper) and gets no gradient, whatever it was made
    of. Source: arXiv 2509.12434 §3.2.
    """
    reward = alpha * logps - beta * ref_logps
    return _kto(reward - _constant(baseline), desirable, desirable_weight, undesirable_weight), reward


def upstream_compat_kto_loss(
    logps: Tensor,
    ref_logps: Tensor,
    desirable: Tensor,
    kl_logps: Tensor,
    ref_kl_logps: Tensor,
    alpha: float,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """KTO as coded in the authors' fork: alpha stands in a clamped baseline only, which beta multiplies once more.

    Not the paper's loss: with alpha > beta the clamp makes the baseline 0 on long trajectories, and then alpha changes
    nothing. `kl_logps`, `ref_kl_logps`: (K,), of conversations whose last reply is another row's.
    Out: loss (B,), reward (B,) = beta * (logp - ref_logp). Source: docs/method.md, "Losses".
    """
    baseline = kto_baseline("mismatched", alpha, beta, kl_logps=kl_logps, ref_kl_logps=ref_kl_logps, clamp=True)
    reward = beta * (logps - ref_logps)
    return _kto(reward - beta * baseline, desirable, desirable_weight, undesirable_weight), reward


def kto_baseline(
    kind: str,
    alpha: float,
    beta: float,
    *,
    entropy: Tensor | None = None,
    cross_entropy: Tensor | None = None,
    kl_logps: Tensor | None = None,
    ref_kl_logps: Tensor | None = None,
    logps: Tensor | None = None,
    ref_logps: Tensor | None = None,
    clamp: bool = False,
) -> Tensor:
    """z = alpha * z0 = E_policy[alpha * logp - beta * ref_logp] = beta * KL - lambda * entropy, nats. Out: (B,), ().

    exact       per row, -alpha * entropy + beta * cross_entropy over the visited states; both (B,), sums over tokens
    batch       the mean of `exact` over the batch
    mismatched  the mean of u over the (K,) `kl_logps`, `ref_kl_logps` of mismatched conversations (TRL and the authors)
    sampled     the mean of u over the batch's own (B,) `logps`, `ref_logps`
    zero        0

    May be negative; `clamp` raises it to 0 (TRL does). Never carries a gradient.
    """
    if kind == "zero":
        return torch.zeros(())
    first, second = {
        "exact": (entropy, cross_entropy),
        "batch": (entropy, cross_entropy),
        "mismatched": (kl_logps, ref_kl_logps),
        "sampled": (logps, ref_logps),
    }[kind]
    if first is None or second is None:
        raise ValueError(f"the baseline {kind} needs other figures than those given")
    first, second = first.detach(), second.detach()
    if kind in ("exact", "batch"):
        value = beta * second - alpha * first
    else:
        value = alpha * first - beta * second
    value = value if kind == "exact" else value.mean()
    return value.clamp(min=0) if clamp else value


def class_weights(n_desirable: int, n_undesirable: int, undesirable_weight: float = 1.0) -> tuple[float, float]:
    """(desirable, undesirable) weights such that their classes' summed weights stand in a ratio within [1, 4/3].

    The undesirable weight stays as given; the other moves no further than it must. Source: KTO, arXiv 2402.01306.
    """
    if n_desirable < 1 or n_undesirable < 1:
        raise BadInput(
            "DataUnusable",
            f"KTO needs both classes and got {n_desirable} desirable and {n_undesirable} undesirable trajectories; "
            "collect more rollouts, or from tasks of mixed outcome",
        )
    ratio = n_desirable / n_undesirable
    return undesirable_weight * min(max(ratio, 1.0), 4 / 3) / ratio, undesirable_weight


def alpha_of(method: dict[str, Any]) -> float:
    """alpha of a method as the configuration writes it: `alpha`, or `entropyRatio` * beta; beta for dpo and kto."""
    beta = method["beta"]
    if not method["type"].startswith("entropo-"):
        return beta
    alpha, ratio = method.get("alpha"), method.get("entropyRatio")
    if (alpha is None) == (ratio is None):
        given = "neither is" if alpha is None else "both are"
        raise BadInput("ConfigInvalid", f"method: give either entropyRatio (alpha/beta) or alpha; {given} there")
    return alpha if ratio is None else ratio * beta


def _kto(advantage: Tensor, desirable: Tensor, desirable_weight: float, undesirable_weight: float) -> Tensor:
    """w * (1 - sigmoid(±advantage)), written as sigmoid(∓advantage): no cancellation near 1."""
    sign = desirable.to(advantage.dtype) * 2 - 1
    weight = torch.where(desirable, advantage.new_tensor(desirable_weight), advantage.new_tensor(undesirable_weight))
    return weight * torch.sigmoid(-sign * advantage)


def _constant(value: Tensor | float) -> Tensor | float:
    return value.detach() if isinstance(value, Tensor) else value
