"""Losses against printed values, an independent float64 reference, TRL's own trainers' formulas, and closed forms."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from trainer.losses import (
    alpha_of,
    class_weights,
    entropo_dpo_loss,
    entropo_kto_loss,
    kto_baseline,
    sft_loss,
    upstream_compat_kto_loss,
)
from trainer.program import BadInput


def row(*values):
    return torch.tensor(values, dtype=torch.float64)


# alpha, beta, logp+, logp-, ref+, ref-, logit, loss, chosen reward, rejected reward, d loss / d logp+
DPO = [
    (0.11, 0.1, -100, -120, -102, -118, 0.6, 0.437487950, -0.8, -1.4, -0.038977806),
    (0.11, 0.1, -100, -100, -100, -100, 0, 0.693147181, -1.0, -1.0, -0.055),
    (0.1, 0.1, -100, -120, -102, -118, 0.4, 0.513015252, 0.2, -0.2, -0.040131234),
    (0.105, 0.1, -900, -1500, -910, -1495, 4.5, 0.011047745, -3.5, -8.0, -0.001153629),
    (1.1, 1.0, -10, -12, -11, -11, 2.2, 0.105083320, 0.0, -2.2, -0.109725538),
]


@pytest.mark.parametrize("alpha,beta,pc,pr,rc,rr,logit,loss,chosen,rejected,slope", DPO)
def test_entropo_dpo_gives_the_printed_values(alpha, beta, pc, pr, rc, rr, logit, loss, chosen, rejected, slope):
    policy = row(pc).requires_grad_()
    got, got_logit = entropo_dpo_loss(policy, row(pr), row(rc), row(rr), alpha, beta)
    got.sum().backward()
    # Printed to nine decimals.
    assert got_logit.item() == pytest.approx(logit, abs=1e-9)
    assert got.item() == pytest.approx(loss, abs=1e-9)
    assert policy.grad.item() == pytest.approx(slope, abs=1e-9)
    assert alpha * pc - beta * rc == pytest.approx(chosen, abs=1e-9)
    assert alpha * pr - beta * rr == pytest.approx(rejected, abs=1e-9)


LOGPS, REFS, DESIRABLE = row(-100, -90), row(-104, -89), torch.tensor([True, False])
KL_LOGPS = row(-130, -101)
KL_REFS = {"P": row(-131, -100), "Q": row(-150, -130)}
# batch, mode, alpha, baseline alpha * z0 before any clamp, loss of each item
KTO = [
    ("P", "paper", 0.1, 0, 0.401312340, 0.475020813),
    ("P", "paper", 0.11, -1.155, 0.364705151, 0.538672605),
    ("P", "paper", 0.15, -5.775, 0.235952400, 0.764047600),
    ("P", "compat", 0.1, 0, 0.401312340, 0.475020813),
    ("P", "compat", 0.11, -1.155, 0.401312340, 0.475020813),
    ("P", "compat", 0.15, -5.775, 0.401312340, 0.475020813),
    ("Q", "paper", 0.1, 2.45, 0.885947619, 0.072426485),
    ("Q", "paper", 0.11, 1.295, 0.869324577, 0.091537906),
    ("Q", "paper", 0.15, -3.325, 0.781597464, 0.218402536),
    ("Q", "compat", 0.1, 2.45, 0.461327395, 0.414595431),
    ("Q", "compat", 0.11, 1.295, 0.432784350, 0.442875510),
    ("Q", "compat", 0.15, -3.325, 0.401312340, 0.475020813),
]


@pytest.mark.parametrize("batch,mode,alpha,baseline,first,second", KTO)
def test_entropo_kto_gives_the_printed_values(batch, mode, alpha, baseline, first, second):
    mismatched = dict(kl_logps=KL_LOGPS, ref_kl_logps=KL_REFS[batch])
    z = kto_baseline("mismatched", alpha, 0.1, **mismatched)
    assert z.item() == pytest.approx(baseline, abs=1e-9)
    if mode == "paper":
        losses, rewards = entropo_kto_loss(LOGPS, REFS, DESIRABLE, z, alpha, 0.1, 1, 1)
        assert rewards.tolist() == pytest.approx([-100 * alpha + 10.4, -90 * alpha + 8.9], abs=1e-9)
    else:
        losses, rewards = upstream_compat_kto_loss(LOGPS, REFS, DESIRABLE, *mismatched.values(), alpha, 0.1, 1, 1)
        assert rewards.tolist() == pytest.approx([0.4, -0.1], abs=1e-9)
    assert losses.tolist() == pytest.approx([first, second], abs=1e-9)


def random_batch(seed, size=9):
    """Four (size,) float64 vectors: log-probabilities of trajectories of mixed length, policy near its reference."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(5, 120, (2, size), generator=generator)
    reference = -0.35 * lengths.double() * (1 + 0.2 * torch.randn(2, size, generator=generator, dtype=torch.float64))
    policy = reference + 3 * torch.randn(2, size, generator=generator, dtype=torch.float64)
    return policy[0], policy[1], reference[0], reference[1]


@pytest.mark.parametrize("seed", range(5))
def test_equal_alpha_and_beta_are_plain_dpo_and_kto(seed):
    chosen, rejected, ref_chosen, ref_rejected = random_batch(seed)
    loss, _ = entropo_dpo_loss(chosen, rejected, ref_chosen, ref_rejected, 0.1, 0.1)
    plain = -logsigmoid(0.1 * ((chosen - ref_chosen) - (rejected - ref_rejected)))
    assert (loss - plain).abs().max() <= 1e-12

    desirable = torch.arange(len(chosen)) % 3 > 0
    kl = 0.1 * (rejected - ref_rejected).mean().clamp(min=0)
    z = kto_baseline("mismatched", 0.1, 0.1, kl_logps=rejected, ref_kl_logps=ref_rejected, clamp=True)
    loss, _ = entropo_kto_loss(chosen, ref_chosen, desirable, z, 0.1, 0.1, 1.3, 0.7)
    reward = 0.1 * (chosen - ref_chosen)
    plain = torch.where(desirable, 1.3 * (1 - torch.sigmoid(reward - kl)), 0.7 * (1 - torch.sigmoid(kl - reward)))
    assert (loss - plain).abs().max() <= 1e-12


def python_kto(logps, refs, desirable, z, alpha, beta, up, down):
    """The paper's form again, row by row and without torch."""
    for logp, ref, good in zip(logps, refs, desirable, strict=True):
        reward = alpha * logp - beta * ref
        yield up * (1 - 1 / (1 + math.exp(-(reward - z)))) if good else down * (1 - 1 / (1 + math.exp(-(z - reward))))


@pytest.mark.parametrize("alpha", [0.1, 0.11, 0.15, 0.3])
@pytest.mark.parametrize("form", ["dpo", "kto", "compat", "sft"])
def test_gradients_equal_finite_differences(alpha, form):
    chosen, rejected, ref_chosen, ref_rejected = random_batch(3, size=6)
    desirable = torch.tensor([True, False, True, True, False, False])

    def loss(first, second):
        if form == "dpo":
            return entropo_dpo_loss(first, second, ref_chosen, ref_rejected, alpha, 0.1)[0].sum()
        if form == "kto":
            return entropo_kto_loss(first, ref_chosen, desirable, row(-0.7), alpha, 0.1, 1.3, 0.7)[0].sum()
        if form == "compat":
            return upstream_compat_kto_loss(first, ref_chosen, desirable, rejected, ref_rejected, alpha, 0.1)[0].sum()
        return sft_loss(first.view(2, 3), desirable.view(2, 3))

    inputs = (chosen.clone().requires_grad_(), rejected.clone().requires_grad_())
    loss(*inputs).backward()
    step = 1e-5
    for which, place in itertools.product(range(2), range(6)):
        ends = []
        for sign in (1, -1):
            moved = [value.detach().clone() for value in inputs]
            moved[which][place] += sign * step
            ends.append(loss(*moved).item())
        grad = inputs[which].grad
        got = 0.0 if grad is None else grad[place].item()
        assert got == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)


def test_kto_equals_the_formula_row_by_row():
    chosen, _, reference, _ = random_batch(1)
    desirable = [place % 2 == 0 for place in range(len(chosen))]
    got, _ = entropo_kto_loss(chosen, reference, torch.tensor(desirable), -2.0, 0.15, 0.1, 1.2, 0.9)
    want = python_kto(chosen.tolist(), reference.tolist(), desirable, -2.0, 0.15, 0.1, 1.2, 0.9)
    assert got.tolist() == pytest.approx(list(want), abs=1e-12)


def test_no_gradient_flows_through_the_baseline():
    logps = row(-3.0, -2.0).requires_grad_()
    desirable = torch.tensor([True, False])
    through, _ = entropo_kto_loss(logps, row(-3, -2), desirable, logps.mean(), 0.15, 0.1, 1, 1)
    through.sum().backward()
    got, logps.grad = logps.grad, None
    constant, _ = entropo_kto_loss(logps, row(-3, -2), desirable, -2.5, 0.15, 0.1, 1, 1)
    constant.sum().backward()
    assert torch.equal(got, logps.grad)
    kinds = dict(entropy=logps, cross_entropy=logps, kl_logps=logps, ref_kl_logps=logps, logps=logps, ref_logps=logps)
    for kind in ("exact", "batch", "mismatched", "sampled", "zero"):
        assert not kto_baseline(kind, 0.15, 0.1, **kinds).requires_grad


def test_each_baseline_is_its_formula_and_clamps_only_when_told():
    entropy, cross = row(10, 30), row(12, 31)
    logps, refs = row(-10, -20), row(-12, -18)
    # -0.2 * H + 0.1 * CE per row: -2 + 1.2 and -6 + 3.1
    exact = kto_baseline("exact", 0.2, 0.1, entropy=entropy, cross_entropy=cross)
    assert exact.tolist() == pytest.approx([-0.8, -2.9], abs=1e-12)
    mean = kto_baseline("batch", 0.2, 0.1, entropy=entropy, cross_entropy=cross)
    assert mean.item() == pytest.approx(-1.85, abs=1e-12)
    # 0.2 * -10 + 1.2 = -0.8; 0.2 * -20 + 1.8 = -2.2
    assert kto_baseline("sampled", 0.2, 0.1, logps=logps, ref_logps=refs).item() == pytest.approx(-1.5, abs=1e-12)
    assert kto_baseline("sampled", 0.2, 0.1, logps=logps, ref_logps=refs, clamp=True).item() == 0
    assert kto_baseline("zero", 0.2, 0.1).item() == 0
    with pytest.raises(ValueError, match="exact"):
        kto_baseline("exact", 0.2, 0.1, entropy=entropy)


def test_the_exact_baseline_is_the_expectation_of_the_reward():
    policy = torch.log_softmax(row(0.3, -1.0, 0.5, 2.0), 0)
    reference = torch.log_softmax(row(0.0, 0.4, -0.3, 1.0), 0)
    entropy, cross = -(policy.exp() * policy).sum(), -(policy.exp() * reference).sum()
    expected = (policy.exp() * (0.15 * policy - 0.1 * reference)).sum()
    got = kto_baseline("exact", 0.15, 0.1, entropy=entropy[None], cross_entropy=cross[None])
    assert got.item() == pytest.approx(expected.item(), abs=1e-12)


def test_sft_loss_is_a_mean_over_trained_tokens_and_parts_add_up():
    logps, mask = row(-1, -2, -4, -8).view(2, 2), torch.tensor([[True, False], [True, True]])
    assert sft_loss(logps, mask).item() == pytest.approx(13 / 3)
    parts = sum(sft_loss(logps[i : i + 1], mask[i : i + 1], tokens=3) for i in range(2))
    assert parts.item() == pytest.approx(13 / 3, abs=1e-12)
    assert sft_loss(logps, torch.zeros_like(mask)).item() == 0


def test_class_weights_bring_the_ratio_into_its_range_and_no_further():
    for good, bad in [(1, 1), (3, 9), (9, 3), (8, 7), (100, 1)]:
        up, down = class_weights(good, bad, 0.5)
        assert down == 0.5
        ratio = up * good / (down * bad)
        assert ratio == pytest.approx(min(max(good / bad, 1), 4 / 3))
    with pytest.raises(BadInput, match="0 undesirable"):
        class_weights(4, 0)


def test_alpha_comes_from_one_place():
    assert alpha_of({"type": "dpo", "beta": 0.1}) == 0.1
    assert alpha_of({"type": "kto", "beta": 0.2}) == 0.2
    assert alpha_of({"type": "entropo-dpo", "beta": 0.1, "alpha": 0.3}) == 0.3
    assert alpha_of({"type": "entropo-kto", "beta": 0.1, "entropyRatio": 1.5}) == pytest.approx(0.15)
    for both in ({}, {"alpha": 0.3, "entropyRatio": 3}):
        with pytest.raises(BadInput, match="either entropyRatio"):
            alpha_of({"type": "entropo-dpo", "beta": 0.1, **both})


@pytest.mark.parametrize("alpha,beta", [(0.1, 0.1), (0.11, 0.1), (0.15, 0.1), (0.3, 0.1), (1.1, 1.0), (0.5, 0.0)])
def test_entropo_dpo_finds_the_optimal_policy_of_a_bandit(alpha, beta):
    generator = torch.Generator().manual_seed(0)
    arms = 12
    utility = 0.3 * torch.randn(arms, generator=generator, dtype=torch.float64)
    reference = torch.log_softmax(1.5 * torch.randn(arms, generator=generator, dtype=torch.float64), 0)
    behaviour = torch.softmax(torch.randn(arms, generator=generator, dtype=torch.float64), 0)
    optimum = torch.softmax((beta * reference + utility) / alpha, 0)
    # Pairs as a Bradley-Terry judge orders them, with their exact probabilities.
    first, second = (1 - torch.eye(arms)).nonzero(as_tuple=True)
    weight = behaviour[first] * behaviour[second] * torch.sigmoid(utility[first] - utility[second])
    scores = torch.zeros(arms, dtype=torch.float64, requires_grad=True)

    def loss():
        policy = torch.log_softmax(scores, 0)
        each, _ = entropo_dpo_loss(policy[first], policy[second], reference[first], reference[second], alpha, beta)
        return (weight * each).sum()

    minimize(loss, scores)
    assert 0.5 * (torch.softmax(scores.detach(), 0) - optimum).abs().sum() <= 1e-6


def test_entropo_dpo_finds_the_optimal_policy_of_a_tree():
    alpha, beta, depth, actions = 0.15, 0.1, 3, 3
    generator = torch.Generator().manual_seed(0)
    nodes = [path for length in range(depth) for path in itertools.product(range(actions), repeat=length)]
    place = {path: index for index, path in enumerate(nodes)}
    leaves = list(itertools.product(range(actions), repeat=depth))
    reference = torch.log_softmax(torch.randn(len(nodes), actions, generator=generator, dtype=torch.float64), 1)
    utility = 0.3 * torch.randn(len(leaves), generator=generator, dtype=torch.float64)
    # Backward induction: V = alpha * log sum exp((beta * log ref + Q) / alpha).
    value = dict(zip(leaves, utility.tolist(), strict=True))
    q = torch.zeros_like(reference)
    for path in reversed(nodes):
        q[place[path]] = torch.tensor([value[(*path, action)] for action in range(actions)])
        value[path] = (alpha * torch.logsumexp((beta * reference[place[path]] + q[place[path]]) / alpha, 0)).item()
    optimum = torch.softmax((beta * reference + q) / alpha, 1)

    states = torch.tensor([[place[leaf[:step]] for step in range(depth)] for leaf in leaves])
    taken = torch.tensor(leaves)
    ref = reference[states, taken].sum(1)
    behaviour = torch.softmax(torch.randn(len(leaves), generator=generator, dtype=torch.float64), 0)
    first, second = (1 - torch.eye(len(leaves))).nonzero(as_tuple=True)
    weight = behaviour[first] * behaviour[second] * torch.sigmoid(utility[first] - utility[second])
    scores = torch.zeros_like(reference, requires_grad=True)

    def loss():
        logps = torch.log_softmax(scores, 1)[states, taken].sum(1)
        each, _ = entropo_dpo_loss(logps[first], logps[second], ref[first], ref[second], alpha, beta)
        return (weight * each).sum()

    minimize(loss, scores)
    assert 0.5 * (torch.softmax(scores.detach(), 1) - optimum).abs().sum(1).max() <= 1e-5


def minimize(loss, parameter):
    exact = dict(tolerance_grad=1e-14, tolerance_change=1e-18, history_size=50, line_search_fn="strong_wolfe")
    optimizer = torch.optim.LBFGS([parameter], max_iter=2000, **exact)

    def step():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    for _ in range(6):
        optimizer.step(step)


def test_tempering_plain_dpo_gives_the_entropo_optimum():
    reference, utility = torch.log_softmax(row(0.1, -0.7, 1.2, 0.4), 0), row(0.3, -0.2, 0.1, 0.5)
    plain = torch.log_softmax(reference + utility / 0.1, 0)
    entropo = torch.log_softmax((0.1 * reference + utility) / 0.15, 0)
    assert (torch.log_softmax(plain * (0.1 / 0.15), 0) - entropo).abs().max() <= 1e-14
