"""Scores of trained tokens against the model's own full logits, and losses against TRL's trainers on tiny models."""

import types
from collections import defaultdict

import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.utils import add_fused_lm_head

from trainer.logps import SMALL_VOCABULARY, token_scores
from trainer.losses import entropo_dpo_loss, entropo_kto_loss, kto_baseline, sft_loss
from trainer.tests.tiny import tiny_model

ARCHITECTURES = ["gpt2", "qwen3", "qwen3-moe", "gemma2", "gemma3", "glm4", "cohere2"]


def batch(lengths, *, vocabulary=384, seed=0):
    """Right-padded random ids, attention, and a mask of runs as turns leave it; (B, T) each."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    attention, trained = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(2, vocabulary, (length,), generator=generator)
        attention[row, :length] = 1
        trained[row, :length] = (torch.arange(length) // (3 + row % 3)) % 2 == 1
    return ids, attention, trained


def naive(model, ids, attention, reference=None):
    """(B, T-1) log-probability, entropy and cross-entropy of every token, from full logits in float64."""
    logp = model(input_ids=ids, attention_mask=attention).logits[:, :-1].double().log_softmax(-1)
    chosen = logp.gather(-1, ids[:, 1:, None]).squeeze(-1)
    entropy = -(logp.exp() * logp).sum(-1)
    if reference is None:
        return chosen, entropy, None
    ref = reference(input_ids=ids, attention_mask=attention).logits[:, :-1].double().log_softmax(-1)
    return chosen, entropy, -(logp.exp() * ref).sum(-1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_equal_those_of_the_full_logits(architecture):
    model, reference = tiny_model(architecture), tiny_model(architecture, seed=1)
    ids, attention, trained = batch([17, 30, 8])
    with torch.no_grad():
        scores = token_scores(model, ids, attention, trained, with_entropy=True, reference_model=reference)
        wanted = naive(model, ids, attention, reference)
    places = trained[:, 1:]
    assert places.sum() > 10
    for got, want in zip((scores.logps, scores.entropy, scores.cross_entropy), wanted, strict=True):
        assert (got - want)[places].abs().max() <= 1e-5
        assert (got[~places] == 0).all()


@pytest.mark.parametrize("bias", [False, True])
def test_the_chunked_head_of_a_large_vocabulary_gives_the_same_scores_and_gradients(bias):
    vocabulary = SMALL_VOCABULARY + 1000
    ids, attention, trained = batch([17, 30, 8], vocabulary=vocabulary)
    model, reference = (tiny_model("qwen3", vocabulary=vocabulary, seed=seed) for seed in (0, 1))
    if bias:
        model.lm_head.bias = torch.nn.Parameter(torch.linspace(-1, 1, vocabulary))
    rows = []
    handle = model.lm_head.register_forward_hook(lambda _, inputs, output: rows.append(output.shape[-2]))
    scores = token_scores(model, ids, attention, trained, with_entropy=True, reference_model=reference)
    handle.remove()
    assert rows == [1]
    sft_loss(scores.logps, trained[:, 1:]).backward()
    got = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    wanted = naive(model, ids, attention, reference)
    places = trained[:, 1:]
    for value, want in zip((scores.logps, scores.entropy, scores.cross_entropy), wanted, strict=True):
        assert (value - want)[places].abs().max() <= 1e-4
    sft_loss(wanted[0], places).backward()
    for name, parameter in model.named_parameters():
        assert (got[name] - parameter.grad).abs().max() <= 1e-5, name


def test_only_trained_positions_reach_the_head():
    model = tiny_model()
    ids, attention, trained = batch([17, 30, 8])
    rows = []
    model.lm_head.register_forward_hook(lambda _, inputs, output: rows.append(tuple(output.shape)))
    token_scores(model, ids, attention, trained)
    assert rows == [(1, int(trained[:, 1:].sum()), 384)]


def test_masked_tokens_get_exactly_no_gradient():
    model = tiny_model()
    ids, attention, trained = batch([17, 30, 8])
    states = []

    def keep(_, inputs):
        inputs[0].retain_grad()
        states.append(inputs[0])

    model.lm_head.register_forward_pre_hook(keep)
    embedded = []

    def keep_output(_, inputs, output):
        output.retain_grad()
        embedded.append(output)

    model.get_input_embeddings().register_forward_hook(keep_output)
    sft_loss(token_scores(model, ids, attention, trained).logps, trained[:, 1:]).backward()
    before_trained = torch.zeros_like(trained)
    before_trained[:, :-1] = trained[:, 1:]
    sizes = states[0].grad.abs().sum(-1)
    assert (sizes[~before_trained] == 0).all()
    assert (sizes[before_trained] > 0).all()
    # What stands behind the last trained token of a row cannot matter to anything before it.
    for row in range(3):
        last = int(trained[row].nonzero().max())
        inputs = embedded[0].grad[row].abs().sum(-1)
        assert (inputs[last:] == 0).all()
        assert inputs[0] > 0


def test_changing_a_masked_token_at_the_end_of_a_row_changes_no_score():
    model = tiny_model()
    ids, attention, trained = batch([12])
    trained[0, 9:] = False
    first = token_scores(model, ids, attention, trained).logps
    ids[0, 10] += 1
    assert torch.equal(first, token_scores(model, ids, attention, trained).logps)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_order_and_company_change_nothing(architecture):
    model = tiny_model(architecture)
    lengths = [17, 30, 5, 41]
    ids, attention, trained = batch(lengths)

    def sums(rows, width):
        tables = [table[rows, :width] for table in (ids, attention, trained)]
        scores = token_scores(model, *tables, with_entropy=True)
        return torch.stack([scores.logps.double().sum(1), scores.entropy.double().sum(1)], 1)

    with torch.no_grad():
        together = sums([0, 1, 2, 3], 41)
        assert (sums([3, 1, 0, 2], 41) - together[[3, 1, 0, 2]]).abs().max() <= 1e-5
        for row, length in enumerate(lengths):
            assert (sums([row], length) - together[row]).abs().max() <= 1e-5


def test_a_row_without_trained_tokens_scores_zero_and_still_goes_backward():
    model = tiny_model()
    ids, attention, trained = batch([9, 9])
    trained[:] = False
    scores = token_scores(model, ids, attention, trained, with_entropy=True, reference_model=tiny_model(seed=1))
    assert scores.logps.shape == (2, 8)
    for values in (scores.logps, scores.entropy, scores.cross_entropy):
        assert (values == 0).all()
    sft_loss(scores.logps, trained[:, 1:]).backward()


def test_a_first_token_is_never_scored():
    model = tiny_model()
    ids, attention, trained = batch([9])
    trained[:] = True
    with torch.no_grad():
        assert (token_scores(model, ids, attention, trained).logps < 0).sum() == 8


def test_rows_padded_on_the_left_are_refused():
    ids, attention, trained = batch([9, 4])
    with pytest.raises(ValueError, match="right"):
        token_scores(tiny_model(), ids, attention.flip(1), trained)


def test_an_adapter_switched_off_is_the_reference():
    base = tiny_model()
    ids, attention, trained = batch([17, 30])
    plain = token_scores(base, ids, attention, trained).logps.detach()
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)).eval()
    scores = token_scores(model, ids, attention, trained, with_entropy=True, reference_model=model)
    assert (scores.logps - plain).abs().max() > 0.1
    with torch.no_grad(), model.disable_adapter():
        ref = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    with torch.no_grad():
        own = model(input_ids=ids).logits[:, :-1].softmax(-1)
    want = -(own * ref).sum(-1) * trained[:, 1:]
    assert (scores.cross_entropy - want).abs().max() <= 1e-5


def test_a_model_without_an_adapter_is_not_its_own_reference():
    model = tiny_model()
    with pytest.raises(ValueError, match="adapter"):
        token_scores(model, *batch([9]), reference_model=model)


def test_float64_models_score_in_float64():
    model = tiny_model(dtype=torch.float64)
    ids, attention, trained = batch([17, 30])
    got = token_scores(model, ids, attention, trained).logps
    assert got.dtype == torch.float64
    assert (got - naive(model, ids, attention)[0] * trained[:, 1:]).abs().max() <= 1e-12


def test_gradients_through_a_model_equal_finite_differences():
    # GPT-2: other architectures compute norms in float32, whatever the model's dtype.
    model = tiny_model("gpt2", dtype=torch.float64)
    ids, attention, trained = batch([11, 14, 9, 12])
    refs = torch.tensor([-30.0, -28.0], dtype=torch.float64)

    def loss():
        logps = token_scores(model, ids, attention, trained).logps.sum(1)
        return entropo_dpo_loss(logps[:2], logps[2:], refs, refs - 3, 0.15, 0.1)[0].mean()

    loss().backward()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        place = int(torch.randint(parameter.numel(), (), generator=generator))
        ends = []
        for step in (1e-5, -2e-5):
            parameter.data.view(-1)[place] += step
            with torch.no_grad():
                ends.append(loss().item())
        parameter.data.view(-1)[place] += 1e-5
        assert parameter.grad.view(-1)[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


class OneProcess:
    """Accelerate's part in TRL's loss functions, for one process."""

    device = torch.device("cpu")

    @staticmethod
    def gather(value):
        return value

    gather_for_metrics = gather


def trl_self(model, **settings):
    """What TRL's `_compute_loss` reads of its trainer."""
    metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    shared = dict(model=model, accelerator=OneProcess(), aux_loss_enabled=False, beta=0.1, precompute_ref_logps=True)
    return types.SimpleNamespace(**shared, _metrics=metrics, _total_train_tokens=0, _tp_size=1, **settings)


def with_trl_head(model):
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    return model


@pytest.mark.parametrize("seed", range(3))
def test_equal_alpha_and_beta_give_the_loss_and_gradient_of_trls_dpo_trainer(seed):
    ids, attention, trained = batch([17, 30, 9, 12, 41, 7], seed=seed)
    policy, reference = tiny_model(seed=seed), tiny_model(seed=seed + 10)
    with torch.no_grad():
        refs = token_scores(reference, ids, attention, trained).logps.sum(1)
    logps = token_scores(policy, ids, attention, trained).logps.sum(1)
    loss, logit = entropo_dpo_loss(*logps.chunk(2), *refs.chunk(2), 0.1, 0.1)
    assert logit.abs().min() > 0.01
    loss.mean().backward()

    theirs = with_trl_head(tiny_model(seed=seed))
    inputs = dict(input_ids=ids, attention_mask=attention, completion_mask=trained.long())
    inputs |= dict(zip(("ref_chosen_logps", "ref_rejected_logps"), refs.chunk(2), strict=True))
    sigmoid = dict(loss_types=["sigmoid"], loss_weights=[1.0], f_divergence_type="reverse_kl")
    trainer = trl_self(theirs, ld_alpha=None, use_weighting=False, **sigmoid)
    trl_loss = DPOTrainer._compute_loss(trainer, theirs, inputs, False)
    trl_loss.backward()
    assert loss.mean().item() == pytest.approx(trl_loss.item(), abs=1e-5)
    assert_same_gradients(policy, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_equal_alpha_and_beta_give_the_loss_and_gradient_of_trls_kto_trainer(seed):
    ids, attention, trained = batch([17, 30, 9, 12, 41, 7], seed=seed)
    kl_ids, kl_attention, kl_trained = batch([20, 12, 33, 10, 28, 15], seed=seed + 50)
    desirable = torch.tensor([True, False, True, True, False, True])
    policy, reference = tiny_model(seed=seed), tiny_model(seed=seed + 10)
    with torch.no_grad():
        refs = token_scores(reference, ids, attention, trained).logps.sum(1)
        kl_refs = token_scores(reference, kl_ids, kl_attention, kl_trained).logps.sum(1)
        kl_logps = token_scores(policy, kl_ids, kl_attention, kl_trained).logps.sum(1)
    z = kto_baseline("mismatched", 0.1, 0.1, kl_logps=kl_logps, ref_kl_logps=kl_refs, clamp=True)
    logps = token_scores(policy, ids, attention, trained).logps.sum(1)
    loss, reward = entropo_kto_loss(logps, refs, desirable, z, 0.1, 0.1, 1.3, 0.8)
    assert reward.abs().min() > 0.01
    loss.mean().backward()

    theirs = with_trl_head(tiny_model(seed=seed))
    inputs = dict(input_ids=ids, attention_mask=attention, completion_mask=trained.long(), label=desirable)
    inputs |= dict(KL_input_ids=kl_ids, KL_attention_mask=kl_attention, KL_completion_mask=kl_trained.long())
    inputs |= dict(ref_logps=refs, ref_KL_logps=kl_refs)
    trainer = trl_self(theirs, calculate_KL=True, loss_type="kto", desirable_weight=1.3, undesirable_weight=0.8)
    trainer._compute_kl_logps = types.MethodType(KTOTrainer._compute_kl_logps, trainer)
    trl_loss = KTOTrainer._compute_loss(trainer, theirs, inputs, False)
    trl_loss.backward()
    assert loss.mean().item() == pytest.approx(trl_loss.item(), abs=1e-5)
    assert_same_gradients(policy, theirs)


def assert_same_gradients(ours, theirs):
    largest = max(parameter.grad.abs().max() for parameter in theirs.parameters())
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (mine.grad - other.grad).abs().max() <= 1e-5 * largest, name
