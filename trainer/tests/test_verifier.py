"""The verifier: its split, its verdict token, its measures, and that its export is the model."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.conversations import encode
from trainer.program import BadInput, load_model, load_tokenizer
from trainer.tests.tiny import tiny_model, tiny_tokenizer
from trainer.tests.verifier_fixture import FOLDER, fixture_rows
from trainer.verifier import ANSWERS, Verdict, area_under_curve, finish, measure, one_thread, probability, prompt_ids
from trainer.verifier import split_rows, verdict_ids


def row(task: str, resolved: bool, text: str = "It breaks. the tests pass") -> dict:
    messages = [
        {"role": "system", "content": "Is the issue resolved?"},
        {"role": "user", "content": f"{text} <judgement>YES</judgement>?"},
        {"role": "assistant", "content": ANSWERS[0 if resolved else 1]},
    ]
    return {"id": f"{task}/r00", "task": task, "resolved": resolved, "messages": messages}


def rows_of(*outcomes: str) -> list[dict]:
    """`yyn` is a task with two resolved rows and one that is not."""
    return [
        {"id": f"t{place}/r{index}", "task": f"t{place}", "resolved": letter == "y"}
        for place, letters in enumerate(outcomes)
        for index, letter in enumerate(letters)
    ]


@given(st.integers(2, 12), st.floats(0.05, 0.95), st.integers(0, 5))
def test_the_split_is_by_task_takes_every_row_once_and_follows_its_seed(tasks, heldout, seed):
    rows = rows_of(*["yn"] * tasks)
    train, aside = split_rows(rows, heldout, seed)
    assert not {r["task"] for r in train} & {r["task"] for r in aside}
    assert sorted(r["id"] for r in train + aside) == sorted(r["id"] for r in rows)
    assert train and aside
    assert (train, aside) == split_rows(rows, heldout, seed)


def test_the_held_out_share_is_of_tasks_not_of_rows():
    rows = rows_of("yn" * 20, *["yn"] * 9)
    _, aside = split_rows(rows, 0.3, 1)
    assert len({r["task"] for r in aside}) == 3


def test_another_seed_holds_out_other_tasks():
    rows = rows_of(*["yn"] * 40)
    assert {r["task"] for r in split_rows(rows, 0.2, 1)[1]} != {r["task"] for r in split_rows(rows, 0.2, 2)[1]}


@pytest.mark.parametrize(
    "outcomes, counts",
    [
        (("nnn", "nn"), "5 training rows 0 are resolved and 5 not"),
        (("yy", "y"), "3 training rows 3 are resolved and 0"),
        ((), "0 "),
    ],
)
def test_data_of_one_class_is_refused_with_its_counts_and_a_remedy(outcomes, counts):
    with pytest.raises(BadInput, match=counts) as refused:
        split_rows(rows_of(*outcomes), 0.2, 1)
    assert refused.value.type == "DataUnusable"
    assert "collect more tasks" in refused.value.message


def test_training_rows_of_one_class_are_refused_though_all_rows_have_both():
    with pytest.raises(BadInput, match="1 of 2 tasks held out"):
        split_rows(rows_of("yyy", "nnn"), 0.5, 1)


def test_one_task_cannot_be_split():
    with pytest.raises(BadInput, match="of one task"):
        split_rows(rows_of("yn"), 0.5, 1)


@pytest.mark.parametrize("template", ["qwen3", "qwen3-instruct", "chatml", "gemma3"])
@pytest.mark.parametrize("resolved", [True, False])
def test_the_verdict_token_is_what_follows_the_prompt_in_training(template, resolved):
    tokenizer = tiny_tokenizer(template)
    prefix, yes, no = verdict_ids(tokenizer)
    one = row("t", resolved)
    encoded = encode(tokenizer, one["messages"])
    ids = prompt_ids(one, tokenizer)
    assert encoded.ids[: len(ids)] == ids
    assert encoded.ids[len(ids)] == (yes if resolved else no)
    assert encoded.trained[len(ids)]
    assert tokenizer.decode(ids).endswith("<judgement>")
    assert ids[len(ids) - len(prefix) :] == prefix and yes != no


def test_a_row_whose_answer_is_not_its_label_is_refused():
    with pytest.raises(BadInput, match="resolved` is False"):
        prompt_ids({**row("t", True), "resolved": False}, tiny_tokenizer())


@pytest.mark.parametrize(
    "logits, expected",
    [
        ([0.0, 0.0], 0.5),
        ([np.log(3), 0.0], 0.75),
        ([-900.0, 900.0], 0.0),
        ([900.0, -900.0], 1.0),
        ([np.nan, 0.0], None),
    ],
)
def test_the_probability_is_renormalised_over_both_answers(logits, expected):
    found = probability(np.array([logits]))
    assert found == expected if expected is None else found == pytest.approx(expected, abs=1e-12)


def test_measures_of_a_small_table():
    scored = [(0.9, True), (0.8, False), (0.8, True), (0.1, False), (None, True)]
    found = measure(scored)
    assert (found["count"], found["unscored"], found["yes"]) == (5, 1, 3)
    assert found["auc"] == pytest.approx(3.5 / 4)  # of four pairs three are in order, one is a tie
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["brier"] == pytest.approx((0.01 + 0.64 + 0.04 + 0.01) / 4)
    assert found["calibration"] == [
        {"from": 0.1, "to": 0.2, "count": 1, "predicted": 0.1, "observed": 0.0},
        {"from": 0.8, "to": 0.9, "count": 2, "predicted": 0.8, "observed": 0.5},
        {"from": 0.9, "to": 1.0, "count": 1, "predicted": 0.9, "observed": 1.0},
    ]


def test_nothing_held_out_gives_null_not_zero():
    found = measure([])
    assert [found[name] for name in ("auc", "accuracy", "brier")] == [None, None, None]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.booleans()), max_size=12))
def test_the_area_counts_pairs_in_order(rows):
    pairs = [(p, n) for p, yes in rows if yes for n, other in rows if not other]
    expected = sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs) if pairs else None
    found = area_under_curve(rows)
    assert found is None if expected is None else found == pytest.approx(expected)


@pytest.fixture(scope="module", params=["qwen3", "cohere2"])
def finished(request, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param)
    model, tokenizer = tiny_model(request.param), tiny_tokenizer()
    rows = [row(f"t{n}", n % 2 == 0, text="def f(x): " * n) for n in range(1, 7)]
    return out, model, tokenizer, rows, finish(model, tokenizer, rows, out)


def test_the_export_agrees_with_the_model_for_every_length(finished):
    out, model, tokenizer, rows, result = finished
    assert result["notExported"] is None
    _, yes, no = verdict_ids(tokenizer)
    session = onnxruntime.InferenceSession(str(out / "verifier.onnx"), one_thread())
    for length in (1, 2, 7, 40, 300):
        ids = torch.randint(0, 320, (1, length), generator=torch.Generator().manual_seed(length))
        with torch.no_grad():
            expected = model(ids).logits[:, -1, [yes, no]]
        found = session.run(None, {"input_ids": ids.numpy()})[0]
        assert np.abs(found - expected.numpy()).max() < 1e-4


def test_a_model_in_bfloat16_is_exported_too(tmp_path):
    rows = [row(f"t{n}", n % 2 == 0, text="def f(x): " * n) for n in range(1, 5)]
    model = tiny_model(dtype=torch.bfloat16)
    assert finish(model, tiny_tokenizer(), rows, tmp_path)["notExported"] is None


def test_the_export_says_what_a_worker_needs(finished):
    out, model, tokenizer, rows, result = finished
    facts = json.loads((out / "verifier.json").read_text())
    prefix, yes, no = verdict_ids(tokenizer)
    answers = {"yes": yes, "no": no, "prefix": "<judgement>", "prefixIds": prefix}
    assert facts == {"version": 1, **answers, "maxTokens": 2048}
    assert (result["count"], result["unscored"], result["yes"], result["tasks"]) == (6, 0, 3, 6)
    assert 0 < result["brier"] < 1


def test_equal_weights_are_exported_as_equal_bytes_that_name_no_file(finished, tmp_path):
    out, model, tokenizer, *_ = finished
    finish(model, tokenizer, [], tmp_path)
    file = (tmp_path / "verifier.onnx").read_bytes()
    assert file == (out / "verifier.onnx").read_bytes()
    assert b".py" not in file


def test_a_held_out_row_beyond_the_context_is_unscored(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.verifier.MAX_PARAMETERS", 1000)
    rows = [row("a", True), row("b", False, "x" * 3000)]
    result = finish(tiny_model(), tiny_tokenizer(), rows, tmp_path)
    assert (result["count"], result["unscored"], result["accuracy"] in (0.0, 1.0)) == (2, 1, True)


def test_a_model_that_is_too_large_is_not_exported_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.verifier.MAX_PARAMETERS", 1000)
    result = finish(tiny_model(), tiny_tokenizer(), [row("t", True)], tmp_path)
    assert "endpoint" in result["notExported"]
    assert not (tmp_path / "verifier.onnx").exists()
    assert result["count"] == 1


def test_pytorch_gives_the_worker_fixtures_probabilities():
    tokenizer, model = load_tokenizer(FOLDER / "model"), load_model(FOLDER / "model", torch.device("cpu"))
    _, yes, no = verdict_ids(tokenizer)
    cases = [json.loads(line) for line in (FOLDER / "cases.jsonl").read_text(encoding="utf8").split("\n") if line]
    for made, case in zip(fixture_rows(), cases, strict=True):
        assert prompt_ids(made, tokenizer) == case["ids"]
        with torch.no_grad():
            found = probability(Verdict(model, yes, no)(torch.tensor([case["ids"]])))
        assert abs(found - case["probability"]) < 1e-4
