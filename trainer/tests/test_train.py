"""Whole training runs on a model of 28 thousand parameters: what they compute, and what they refuse."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainer import loop
from trainer.alarms import Alarms
from trainer.batches import swap_last_turn, update_units
from trainer.conversations import encode
from trainer.data import encode_data, open_data
from trainer.program import BadInput, StopRequest
from trainer.tests.runs import KTO, METHODS, PAIR, assert_close, finish, metrics_of, spec_of
from trainer.tests.runs import write_data, write_reference, write_rows
from trainer.tests.tiny import tiny_folder, tiny_messages


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_data(root)
    return root


def weights(spec: dict) -> dict[str, torch.Tensor]:
    return load_file(Path(spec["out"]) / "model" / "model.safetensors")


def first_row(root: Path, out: Path, method: dict, **changes) -> dict:
    """Metrics of the first update, where policy and reference are the same model."""
    spec = spec_of(root, out, "dpo", method=method, epochs=0.4, **changes)
    finish(spec)
    return metrics_of(spec)[0]


def drawn_sums(root: Path, spec: dict) -> tuple[list[float], list[float]]:
    """Log-probability and entropy, from reference.jsonl, of the trajectories that KTO's first update draws."""
    labels = [json.loads(line) for line in (root / "pairs" / "labels.jsonl").read_text().splitlines()]
    lines = (root / "reference" / "reference.jsonl").read_text().splitlines()
    sums = {row["id"]: row for row in map(json.loads, lines)}
    drawn = [sums[labels[unit]["id"]] for unit in update_units(spec["seed"], len(labels), 1, spec["batchSize"], 0)]
    return [row["logProb"] for row in drawn], [row["entropy"] for row in drawn]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_leaves_a_model_that_loads_and_has_learned(root, tmp_path, method):
    spec = spec_of(root, tmp_path, method, epochs=6, learningRate=1e-3)
    finish(spec)
    rows = metrics_of(spec)
    assert [row["update"] for row in rows] == list(range(1, rows[-1]["updates"] + 1))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert not torch.equal(model.lm_head.weight, AutoModelForCausalLM.from_pretrained(root / "model").lm_head.weight)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template
    better = "loss" if method == "sft" else "accuracy"
    first, last = (sum(row[better] for row in part) / 3 for part in (rows[:3], rows[-3:]))
    assert last < first if better == "loss" else last > first


def test_the_loss_of_sft_is_the_cross_entropy_of_the_trained_tokens(root, tmp_path):
    spec = spec_of(root, tmp_path, "sft", epochs=1, batchSize=20)
    finish(spec)
    model, tokenizer = (kind.from_pretrained(root / "model") for kind in (AutoModelForCausalLM, AutoTokenizer))
    total = count = 0
    for line in (root / "pairs" / "conversations.jsonl").read_text().splitlines():
        encoded = encode(tokenizer, json.loads(line)["messages"])
        ids, trained = torch.tensor([encoded.ids]), torch.tensor(encoded.trained)
        with torch.no_grad():
            logp = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        total -= logp[trained[1:]].double().sum().item()
        count += int(trained[1:].sum())
    assert metrics_of(spec)[0]["loss"] == pytest.approx(total / count, abs=1e-6)
    assert json.loads((tmp_path / "summary.json").read_text())["trainedTokens"] == count


@pytest.mark.parametrize("method", METHODS)
def test_many_small_groups_are_one_large_batch(root, tmp_path, method):
    small, large = (
        spec_of(root, tmp_path / str(most), method, microBatchTokens=most, learningRate=1e-4) for most in (1, 100_000)
    )
    finish(small)
    finish(large)
    assert_close(metrics_of(small), metrics_of(large), 1e-4)
    for name, value in weights(small).items():
        assert torch.allclose(value, weights(large)[name], atol=2e-5), name


@pytest.mark.parametrize("ratio", [1.1, 2])
def test_at_the_reference_the_margin_is_what_lengths_alone_make_it(root, tmp_path, ratio):
    row = first_row(root, tmp_path, {"type": "entropo-dpo", **PAIR, "entropyRatio": ratio})
    sums = {line["id"]: line["logProb"] for line in map(json.loads, (root / "reference" / "reference.jsonl").open())}
    pairs = [json.loads(line) for line in (root / "pairs" / "pairs.jsonl").open()]
    drawn = [pairs[unit] for unit in update_units(5, len(pairs), 0.4, 4, 0)]
    differences = [sums[pair["chosen"]] - sums[pair["rejected"]] for pair in drawn]
    assert row["margin"] == pytest.approx((ratio - 1) * 0.1 * sum(differences) / len(differences), abs=1e-4)


@pytest.mark.parametrize(
    ("baseline", "which"), [("batch", "entropy"), ("exact", "entropy"), ("sampled", "logp"), ("zero", "zero")]
)
@pytest.mark.parametrize("groups", [1, 100_000])
def test_at_the_reference_the_baseline_is_known_in_closed_form(root, tmp_path, baseline, which, groups):
    method = {"type": "entropo-kto", "form": "paper", "alpha": 0.3, **KTO, "baseline": baseline}
    row = first_row(root, tmp_path, method, microBatchTokens=groups)
    logps, entropies = drawn_sums(root, spec_of(root, tmp_path, "dpo"))
    # beta * KL - lambda * entropy with KL = 0; sampled: (alpha - beta) * mean log-probability.
    expected = {"entropy": -0.2 * sum(entropies) / 4, "logp": 0.2 * sum(logps) / 4, "zero": 0}[which]
    assert row["baseline"] == pytest.approx(expected, abs=1e-4)


def test_a_mismatched_baseline_is_the_mean_over_neighbours_replies(root, tmp_path):
    method = {"type": "entropo-kto", "form": "paper", "alpha": 0.3, **KTO, "baseline": "mismatched"}
    spec = spec_of(root, tmp_path, "kto", method=method, epochs=0.2)
    model, tokenizer = (kind.from_pretrained(root / "model") for kind in (AutoModelForCausalLM, AutoTokenizer))
    encode_data(spec, tokenizer, 18000, StopRequest(), set())
    data = open_data(spec, 18000)
    drawn = update_units(5, len(data), 0.2, 4, 0).tolist()
    sums = []
    for unit, other in zip(drawn, [*drawn[1:], drawn[0]]):
        tokens, trained = swap_last_turn(data.row(unit, 0), data.row(other, 0), 18000)
        ids = torch.tensor(tokens[None].astype("int64"))
        with torch.no_grad():
            logp = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        sums.append(logp[torch.tensor(trained[1:]).bool()].sum().item())
    finish(spec)
    assert metrics_of(spec)[0]["baseline"] == pytest.approx(0.2 * sum(sums) / 4, abs=1e-4)


def test_upstream_compatible_kto_clamps_its_baseline(root, tmp_path):
    assert first_row(root, tmp_path, METHODS["upstream-kto"])["baseline"] == 0


@pytest.mark.parametrize("method", ["sft", "dpo", "entropo-kto", "kto"])
def test_an_adapter_is_trained_alone_and_merged(root, tmp_path, method):
    spec = spec_of(root, tmp_path, method, lora={"rank": 4, "alpha": 8}, learningRate=1e-2)
    finish(spec)
    before, after = load_file(root / "model" / "model.safetensors"), weights(spec)
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if "proj" in name}


def test_a_reference_of_another_model_is_refused_before_the_first_update(root, tmp_path):
    other = tiny_folder(tmp_path / "other", seed=1)
    write_reference(root, other, tmp_path / "reference")
    spec = spec_of(root, tmp_path / "out", "dpo", reference=str(tmp_path / "reference" / "reference.jsonl"))
    with pytest.raises(BadInput, match="Merge the SFT adapter") as refused:
        finish(spec)
    assert refused.value.type == "ConfigInvalid"
    assert metrics_of(spec) == []


def test_a_reference_of_other_tokens_is_refused(root, tmp_path):
    lines = [json.loads(line) for line in (root / "reference" / "reference.jsonl").read_text().splitlines()]
    lines[3]["tokens"] += 1
    write_rows(tmp_path / "reference.jsonl", lines)
    with pytest.raises(BadInput, match=f"{lines[3]['id']}.*compute the reference again"):
        finish(spec_of(root, tmp_path / "out", "kto", reference=str(tmp_path / "reference.jsonl")))


def test_a_loss_that_is_not_finite_ends_the_run_with_update_and_rows(root, tmp_path):
    told = r"update 2: loss .*, gradient norm nan; .*t\d/0.*lower the learning rate"
    with pytest.raises(BadInput, match=told) as diverged:
        finish(spec_of(root, tmp_path, "dpo", learningRate=1e30, warmup=0))
    assert diverged.value.type == "TrainerDiverged"


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("sft", {"cutoff": 8}, "20 were longer than the cutoff of 8"),
        ("dpo", {"cutoff": 8}, "10 in pairs.jsonl"),
        ("kto", {"cutoff": 8}, "20 in labels.jsonl"),
    ],
)
def test_nothing_left_to_learn_from_says_what_was_filtered(root, tmp_path, method, changes, message):
    with pytest.raises(BadInput, match=message) as empty:
        finish(spec_of(root, tmp_path, method, **changes))
    assert empty.value.type == "DataUnusable"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batchSize": "4"}, "batchSize"),
        ({"method": {"type": "ppo"}}, "'ppo', none of sft"),
        ({"method": {"type": "dpo", "beta": 0.1}}, "method.ftx is missing"),
        ({"reference": None}, "needs `reference`"),
        ({"method": {**METHODS["kto"]}, "batchSize": 1}, "baseline: mismatched takes .* set batchSize to 2"),
        ({"method": {**METHODS["upstream-kto"]}, "batchSize": 1}, "form: upstream-compat takes .* set batchSize to 2"),
        ({"method": {"type": "entropo-dpo", **PAIR, "alpha": 1, "entropyRatio": 2}}, "both are"),
    ],
)
def test_a_spec_that_cannot_be_run_is_refused(root, tmp_path, changes, message):
    with pytest.raises(BadInput, match=message):
        finish(spec_of(root, tmp_path, "dpo", **changes))


def test_out_of_memory_halves_the_micro_batch_once(root, tmp_path, capfd, monkeypatch):
    class Small(loop.Run):
        """A device that holds 300 tokens at a time."""

        def _one_update(self):
            if self.micro_batch_tokens > 300:
                raise torch.OutOfMemoryError
            return super()._one_update()

    monkeypatch.setattr(loop, "Run", Small)
    finish(spec_of(root, tmp_path / "fits", "dpo", microBatchTokens=500))
    assert "going on with microBatchTokens = 250" in capfd.readouterr().out
    with pytest.raises(BadInput, match="does not fit"):
        finish(spec_of(root, tmp_path / "never", "dpo", microBatchTokens=5000))


def test_saturated_logits_are_warned_of_once_a_window():
    alarms = Alarms(updates=4, alpha=0.3, beta=0.1)
    seen = [alarms.see({"saturated": share, "entropy": 1.0}) for share in (0, 0.5, 0.5, 0.5, 1, 0, 0, 0)]
    assert [len(warnings) for warnings in seen] == [0, 0, 0, 1, 0, 0, 0, 1]
    assert "38% of the logits" in seen[3][0]["message"]
    assert "lower entropyRatio" in seen[3][0]["message"]


def test_an_entropy_that_falls_by_more_than_half_is_warned_of():
    alarms = Alarms(updates=2, alpha=0.1, beta=0.1)
    seen = [alarms.see({"saturated": 0, "entropy": entropy}) for entropy in (2, 2, 1, 0.9, 0.5)]
    assert [bool(warnings) for warnings in seen] == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("updates", "warmup", "factors"),
    [(4, 0, [1, 0.75, 0.5, 0.25]), (5, 0.4, [0.5, 1, 1, 2 / 3, 1 / 3]), (2, 1, [0.5, 1]), (1, 0.1, [1])],
)
def test_the_learning_rate_rises_and_falls_linearly(updates, warmup, factors):
    assert [loop.rate_factor(update, updates, warmup) for update in range(updates)] == pytest.approx(factors)


def judged(turns: int, sides: tuple[int, ...] = (0, 1)) -> list[dict]:
    """Rows of a verifier over 5 tasks, with `turns` replies before the answer."""
    return [
        {
            "id": f"c/t{task}/r{side}",
            "task": f"t{task}",
            "resolved": side == 0,
            "messages": [
                *tiny_messages(turns),
                {"role": "user", "content": f"was it {'right' if side == 0 else 'wrong'}?"},
                {"role": "assistant", "content": f"<judgement>{('YES', 'NO')[side]}</judgement>"},
            ],
        }
        for task in range(5)
        for side in sides
    ]


def verifier_spec(root: Path, tmp_path: Path, rows: list[dict], **changes) -> dict:
    write_rows(tmp_path / "conversations.jsonl", rows)
    method = {"type": "verifier", "heldout": 0.4}
    return spec_of(root, tmp_path / "out", "sft", method=method, data=str(tmp_path / "conversations.jsonl"), **changes)


def test_a_verifier_learns_the_last_answer_only(root, tmp_path):
    spec = verifier_spec(root, tmp_path, judged(turns=2))
    tokenizer = AutoTokenizer.from_pretrained(root / "model")
    encode_data(spec, tokenizer, 18000, StopRequest(), {"c/t0/r0"})
    data = open_data(spec, 18000)
    assert len(data) == 9 and "c/t0/r0" not in data.ids
    for unit, name in enumerate(data.ids):
        tokens, trained = data.row(unit, 0)
        answer = "YES" if name.endswith("r0") else "NO"
        assert tokenizer.decode(tokens[trained == 1]) == f"<judgement>{answer}</judgement><|im_end|>"


def test_a_verifier_whose_rows_within_the_cutoff_are_of_one_class_is_refused(root, tmp_path):
    long = [row for row in judged(turns=12) if row["resolved"]]
    rows = long + [row for row in judged(turns=0) if not row["resolved"]]
    spec = verifier_spec(root, tmp_path, rows)
    tokenizer = AutoTokenizer.from_pretrained(root / "model")
    shortest = min(len(encode(tokenizer, row["messages"]).ids) for row in long)
    encode_data(spec, tokenizer, shortest - 1, StopRequest(), set())
    with pytest.raises(BadInput, match=r"0 are resolved and 5 not \(5 were longer\); raise `cutoff`") as refused:
        open_data(spec, shortest - 1)
    assert refused.value.type == "DataUnusable"


def test_a_verifier_is_measured_on_tasks_set_aside(root, tmp_path):
    spec = verifier_spec(root, tmp_path, judged(turns=0), epochs=20, learningRate=3e-3)
    finish(spec)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["rows"] == 6 and summary["classes"] == {"resolved": 3, "unresolved": 3}
    assert summary["heldout"]["count"] == 4 and summary["heldout"]["tasks"] == 2
    assert summary["heldout"]["auc"] == 1
    assert (tmp_path / "out" / "verifier.onnx").exists()
