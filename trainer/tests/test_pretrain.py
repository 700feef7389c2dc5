"""Pretraining: the same weights whether it was stopped or not, only what the policy writes is learned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainer.checkpoints import newest_checkpoint
from trainer.corpus import batches_from, epoch_batches
from trainer.pretrain import Run, batch_loss, parse, pretrain, schedule
from trainer.program import BadInput, Stopped, StopRequest

FACTS = {
    "seeds": 2,
    "tasks": 30,
    "dropped": 1,
    "conversations": 40,
    "firstSeed": 1000,
    "prompt": "tiny",
    "mixture": {
        "plays": [4, 6],
        "softSteps": [12, 24],
        "teacher": 0.5,
        "sloppy": 0.35,
        "wrongEdits": 2,
        "noisyEdits": 2,
        "tests": 0.5,
        "undo": 0.7,
    },
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rows = []
    for i in range(40):
        reply = f"This is {i}.\n<function=finish>\n<parameter=command>submit</parameter>\n</function>"
        turns = [("system", "mend"), ("user", f"number {i} " * (1 + i % 7)), ("assistant", reply), ("user", "ok")]
        messages = [{"role": role, "content": content} for role, content in [*turns, ("assistant", "Done.")]]
        rows.append(json.dumps({"messages": messages}))
    (tmp_path / "corpus.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "corpus.json").write_text(json.dumps(FACTS))
    return tmp_path / "corpus.jsonl"


def options(corpus: Path, run: str, *more: str):
    folder = corpus.parent / run
    given = ["--corpus", str(corpus), "--run", str(folder), "--out", str(folder / "model"), "--updates", "6"]
    small = ["--layers", "2", "--width", "96", "--entries", "340", "--batch-tokens", "512"]
    return parse([*given, *small, *more])


class StopAfter(StopRequest):
    """Asks for a stop once `looks` updates were begun."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def __bool__(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def weights(run: str, corpus: Path) -> dict[str, torch.Tensor]:
    model = AutoModelForCausalLM.from_pretrained(corpus.parent / run / "model", local_files_only=True)
    return dict(model.named_parameters())


@pytest.mark.parametrize("updates", [1, 3, 5])
def test_a_stopped_run_that_goes_on_ends_with_the_same_weights(corpus: Path, updates: int) -> None:
    pretrain(options(corpus, "quiet"), StopRequest())
    with pytest.raises(Stopped):
        pretrain(options(corpus, "stopped"), StopAfter(updates))
    checkpoint = newest_checkpoint(corpus.parent / "stopped" / "checkpoints")
    assert checkpoint is not None and checkpoint.name == f"update-{updates:06d}"
    pretrain(options(corpus, "stopped"), StopRequest())
    quiet, stopped = weights("quiet", corpus), weights("stopped", corpus)
    assert all(torch.equal(quiet[name], stopped[name]) for name in quiet)


def test_the_loss_falls_and_the_folder_is_an_ordinary_model(corpus: Path, capsys) -> None:
    pretrain(options(corpus, "run", "--updates", "30"), StopRequest())
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    losses = [event["loss"] for event in events if event["event"] == "progress"]
    assert len(losses) == 3 and losses[-1] < losses[0] / 2
    tokenizer = AutoTokenizer.from_pretrained(corpus.parent / "run" / "model", local_files_only=True)
    asked = [{"role": "user", "content": "ok"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    model = AutoModelForCausalLM.from_pretrained(corpus.parent / "run" / "model", local_files_only=True)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    made = model.generate(**ids, max_new_tokens=40, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert made[-1] == tokenizer.eos_token_id
    card = (corpus.parent / "run" / "model" / "README.md").read_text()
    assert "40 conversations" in card and "updates | 30 of 30" in card and "seeds 1000 to 1001" in card


def test_a_checkpoint_of_another_run_is_refused(corpus: Path) -> None:
    pretrain(options(corpus, "run", "--updates", "2"), StopRequest())
    with pytest.raises(BadInput, match="another updates, width; give the same options, or --run another folder"):
        pretrain(options(corpus, "run", "--updates", "3", "--width", "192"), StopRequest())


def test_a_run_that_starts_from_a_model_keeps_its_tokenizer_and_its_card(corpus: Path) -> None:
    pretrain(options(corpus, "first"), StopRequest())
    first = corpus.parent / "first" / "model"
    pretrain(options(corpus, "second", "--start", str(first), "--learning-rate", "1e-9"), StopRequest())
    before, after = weights("first", corpus), weights("second", corpus)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert (corpus.parent / "second" / "model" / "tokenizer.json").read_text() == (first / "tokenizer.json").read_text()
    card = (corpus.parent / "second" / "model" / "README.md").read_text()
    assert card.count("## Training") == 2 and card.count("random weights") == 1 and card.count("Licence:") == 1
    pretrain(options(corpus, "other", "--learning-rate", "1e-3"), StopRequest())
    other = str(corpus.parent / "other" / "model")
    with pytest.raises(BadInput, match="another start; give the same options"):
        pretrain(options(corpus, "second", "--start", other, "--learning-rate", "1e-9"), StopRequest())
    with pytest.raises(BadInput, match="no model is there; finish the run that writes it"):
        pretrain(options(corpus, "third", "--start", str(corpus.parent / "nowhere")), StopRequest())


def test_only_what_the_policy_writes_moves_the_loss_and_padding_does_not(corpus: Path) -> None:
    run = Run(options(corpus, "run"), StopRequest())
    ids, written = run.tokens.batch(np.array([0, 6]))
    loss = batch_loss(run.model, ids, written)
    logits = run.model(ids).logits.log_softmax(-1)
    own = [-logits[b, t - 1, ids[b, t]] for b, t in written.nonzero().tolist()]
    assert loss.item() == pytest.approx(torch.stack(own).mean().item(), rel=1e-5)
    padded = ids == run.tokens.pad
    assert padded.any() and not (written & padded).any()
    other = ids.clone()
    other[padded] = 7
    assert batch_loss(run.model, other, written).item() == pytest.approx(loss.item(), rel=1e-6)


def test_an_epoch_holds_each_row_once_in_batches_of_bounded_size() -> None:
    lengths = np.random.default_rng(0).integers(10, 300, 500)
    batches = epoch_batches(lengths, 1000, seed=1, epoch=0)
    assert sorted(np.concatenate(batches)) == list(range(500))
    assert all(len(rows) * lengths[rows].max() <= 1000 for rows in batches)
    padding = 1 - lengths.sum() / sum(len(rows) * lengths[rows].max() for rows in batches)
    assert padding < 0.15
    again = epoch_batches(lengths, 1000, seed=1, epoch=1)
    assert [tuple(rows) for rows in again] != [tuple(rows) for rows in batches]


@pytest.mark.parametrize("update", [0, 1, 40, 200])
def test_batches_from_an_update_are_the_rest_of_all_batches(update: int) -> None:
    lengths = np.random.default_rng(0).integers(10, 300, 100)
    all_of, rest = (batches_from(first, lengths, 1000, seed=3) for first in (0, update))
    for _ in range(update):
        next(all_of)
    for _ in range(60):
        assert next(all_of).tolist() == next(rest).tolist()


def test_the_learning_rate_rises_and_falls_to_a_tenth() -> None:
    factors = [schedule(update, 1000) for update in range(1000)]
    assert factors[0] == pytest.approx(1 / 20)
    assert max(factors) == factors[19] == pytest.approx(1 - 0.9 * 19 / 1000)
    assert factors[-1] == pytest.approx(0.1, abs=1e-3)
