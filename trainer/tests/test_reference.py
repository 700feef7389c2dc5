"""The reference pass: right figures, in order, resumed without computing a whole shard twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import trainer.reference as reference
from trainer.conversations import encode, read_conversations
from trainer.program import BadInput, Stopped, StopRequest, load_model
from trainer.tests.tiny import tiny_folder, tiny_messages, tiny_tokenizer


def messages(place):
    return tiny_messages(1 + place * 7 % 3, word="abcd"[place % 4])


@pytest.fixture
def stage(tmp_path):
    """A model, 600 conversations of one to three turns (5 shards), and the spec over them."""
    rows = [{"id": f"c/t{i}/r0", "task": f"t{i}", "resolved": None, "messages": messages(i)} for i in range(600)]
    data, out = tmp_path / "pairs", tmp_path / "reference"
    for folder in (data, out):
        folder.mkdir()
    (data / "conversations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = tiny_folder(tmp_path / "model", template="chatml")
    shared = dict(stage="reference-1", out=str(out), model=str(model), data=str(data), device="cpu", threads=1)
    return {**shared, "cutoff": 1000, "overlong": "drop", "microBatchTokens": 2048}


def results(spec):
    with open(f"{spec['out']}/reference.jsonl", encoding="utf8") as lines:
        return [json.loads(line) for line in lines]


def elsewhere(spec, tmp_path, **changes):
    """The same stage in another folder."""
    out = tmp_path / f"other-{len(list(tmp_path.iterdir()))}"
    out.mkdir()
    return {**spec, "out": str(out), **changes}


class StopAfter(StopRequest):
    """Asks for a stop when looked at the nth time; counts the looks, one before each forward pass."""

    def __init__(self, looks=10**9):
        super().__init__()
        self.looks, self.most = 0, looks

    def raise_if_asked(self):
        self.looks += 1
        if self.looks > self.most:
            raise Stopped


def test_rows_are_sums_over_trained_tokens_in_the_order_of_the_input(stage):
    reference.main(stage, StopAfter())
    rows = results(stage)
    assert [row["id"] for row in rows] == [f"c/t{i}/r0" for i in range(600)]
    model, tokenizer = load_model(stage["model"], torch.device("cpu")), tiny_tokenizer("chatml")
    for place in (0, 1, 200, 599):
        encoded = encode(tokenizer, messages(place))
        ids = torch.tensor([encoded.ids])
        logp = model(input_ids=ids).logits[0, :-1].double().log_softmax(-1)
        flags = torch.tensor(encoded.trained[1:])
        assert rows[place]["tokens"] == flags.sum()
        assert rows[place]["logProb"] == pytest.approx(logp.gather(-1, ids[0, 1:, None])[flags].sum().item(), abs=1e-4)
        assert rows[place]["entropy"] == pytest.approx(-(logp.exp() * logp).sum(-1)[flags].sum().item(), abs=1e-4)


def test_rows_do_not_depend_on_who_shares_their_batch(stage, tmp_path):
    reference.main(stage, StopAfter())
    alone = elsewhere(stage, tmp_path, microBatchTokens=1)
    reference.main(alone, StopAfter())
    for together, single in zip(results(stage), results(alone), strict=True):
        assert together["tokens"] == single["tokens"]
        # Per trained token, as float32 sums differ by how much was summed.
        for figure in ("logProb", "entropy"):
            assert abs(together[figure] - single[figure]) <= 1e-5 * single["tokens"]


def test_a_stopped_pass_resumes_behind_its_last_whole_shard_and_gives_the_same_bytes(stage, tmp_path, capsys):
    quiet = elsewhere(stage, tmp_path)
    counting = StopAfter()
    reference.main(quiet, counting)
    each = counting.looks // 5

    with pytest.raises(Stopped):
        reference.main(stage, StopAfter(looks=2 * each + each // 2))
    work = sorted(path.name for path in (tmp_path / "reference" / ".work" / "reference").iterdir())
    done = [name for name in work if name.endswith(".jsonl")]
    assert 1 <= len(done) < 5
    capsys.readouterr()
    counting = StopAfter()
    reference.main(stage, counting)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["update"] for event in events if event["event"] == "progress"] == list(range(len(done) + 1, 6))
    assert events[-1] == {"event": "done", "rows": 600, "dropped": 0, "passes": counting.looks}
    assert counting.looks < 4.2 * each
    written = [Path(spec["out"], "reference.jsonl").read_bytes() for spec in (stage, quiet)]
    assert written[0] == written[1]

    again = StopAfter()
    reference.main(stage, again)
    assert again.looks == 0


def test_a_pass_killed_with_kill_9_resumes_without_computing_a_whole_shard_twice(stage, tmp_path, capsys):
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(stage))
    command = [sys.executable, "-m", "trainer.reference", str(spec)]
    # Standard input stays open: its end would ask for a stop.
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in program.stdout:
        if json.loads(line).get("update") == 1:
            program.kill()
            break
    assert program.wait() == -9
    assert not (tmp_path / "reference" / "reference.jsonl").exists()
    resumed, counting, quiet = StopAfter(), StopAfter(), elsewhere(stage, tmp_path)
    reference.main(stage, resumed)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    updates = [event["update"] for event in events if event["event"] == "progress"]
    assert updates[0] > 1
    assert updates[-1] == 5
    reference.main(quiet, counting)
    assert resumed.looks < counting.looks
    assert results(stage) == results(quiet)


def test_a_batch_holds_no_more_padded_tokens_than_told_unless_it_is_one_row(stage):
    rows = list(read_conversations(f"{stage['data']}/conversations.jsonl", tiny_tokenizer("chatml"), 1000, "drop")[0])
    for most in (1, 100, 1000):
        batches = list(reference.micro_batches(rows, most))
        assert sorted(row.line for batch in batches for row in batch) == list(range(1, 601))
        for batch in batches:
            padded = len(batch) * max(len(row.encoded.ids) for row in batch)
            assert padded <= most or len(batch) == 1
    # Sorted lengths leave little padding.
    real = sum(len(row.encoded.ids) for row in rows)
    assert sum(len(batch) * len(batch[0].encoded.ids) for batch in reference.micro_batches(rows, 2048)) < 1.05 * real


def test_overlong_rows_have_no_line(stage, capsys):
    lengths = [len(encode(tiny_tokenizer("chatml"), tiny_messages(turns)).ids) for turns in (1, 2, 3)]
    reference.main({**stage, "cutoff": lengths[1] + 5}, StopAfter())
    assert len(results(stage)) == 400
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["dropped"] == 200


def test_a_row_without_a_finite_log_probability_is_named(stage):
    model = load_model(stage["model"], torch.device("cpu"))
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
    model.save_pretrained(stage["model"])
    with pytest.raises(BadInput, match=r"line \d+ \(c/t\d+/r0\): its log-probability under the reference is nan"):
        reference.main(stage, StopAfter())
