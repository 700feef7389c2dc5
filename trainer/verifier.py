"""The verifier: a language model that answers `<judgement>YES</judgement>` or NO, read at the verdict token.

Training is plain SFT on judge conversations (core/verifier-input.ts writes them). What is particular stands here: rows
are held out by task, never by trajectory, since the rollouts of one task share issue, code and fix; and what is left
at the end is measured on them and exported, so that a worker scores without Python. The probability is that of YES
renormalised over YES and NO where the two answers part in this tokenizer; there is no temperature.

Not covered: models of more than MAX_PARAMETERS, which belong behind an endpoint (adapters/verifier/llm.ts), and
calibration beyond reporting it.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trainer.conversations import encode
from trainer.program import BadInput

if TYPE_CHECKING:
    import onnx
    import onnxruntime

TAG = "<judgement>"
ANSWERS = (f"{TAG}YES</judgement>", f"{TAG}NO</judgement>")
MAX_PARAMETERS = 400_000_000
"""In float32 still below the 2 GB that one ONNX file holds."""
TOLERANCE = 1e-4
"""Largest difference of probability between PyTorch and ONNX Runtime."""
BINS = 10


Row = dict[str, Any]
"""A line of conversations.jsonl: `id`, `task`, `resolved`, `messages`, the last of which is an answer."""


def split_rows(rows: Sequence[Row], heldout: float, seed: int) -> tuple[list[Row], list[Row]]:
    """(training rows, held-out rows), each in the given order; no task is on both sides.

    `heldout` in (0, 1) is a share of tasks: those with the smallest sha256 of seed and task, at least one. DataUnusable
    where there are fewer than two tasks, or the training rows are all of one class.
    """
    _both_classes(rows, "")
    place = lambda task: hashlib.sha256(f"{seed}/{task}".encode()).hexdigest()  # noqa: E731
    tasks = sorted({row["task"] for row in rows}, key=place)
    if len(tasks) < 2:
        raise BadInput(
            "DataUnusable",
            f"all {len(rows)} rows of the verifier are of one task, and one must be held out; collect more tasks",
        )
    aside = set(tasks[: min(len(tasks) - 1, max(1, round(heldout * len(tasks))))])
    kept = [row for row in rows if row["task"] not in aside]
    _both_classes(kept, f", {len(aside)} of {len(tasks)} tasks held out")
    return kept, [row for row in rows if row["task"] in aside]


def _both_classes(rows: Sequence[Row], beside: str) -> None:
    yes = sum(row["resolved"] is True for row in rows)
    if 0 < yes < len(rows):
        return
    raise BadInput(
        "DataUnusable",
        f"a verifier learns from both kinds of rollouts, and of {len(rows)} training rows{beside} {yes} are resolved "
        f"and {len(rows) - yes} not; collect more tasks or samples, or add a policy of another strength to its `data`",
    )


def verdict_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], int, int]:
    """(tokens that both answers begin with, token by which YES goes on, the same of NO)."""
    yes, no = tokenizer(list(ANSWERS), add_special_tokens=False)["input_ids"]
    shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(yes, no)))
    return yes[:shared], yes[shared], no[shared]


def prompt_ids(row: Row, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Everything before the verdict token. DataUnusable where the last message is not the answer of its label."""
    prefix, yes, no = verdict_ids(tokenizer)
    encoded = encode(tokenizer, row["messages"])
    start = encoded.trained.index(True)
    end = start + len(prefix)
    if encoded.ids[start : end + 1] == [*prefix, yes if row["resolved"] else no]:
        return encoded.ids[:end]
    said = row["messages"][-1]["content"]
    raise BadInput(
        "DataUnusable",
        f"{row['id']}: its last message is {said!r} and `resolved` is {row['resolved']}; the data of a verifier ends "
        f"in {ANSWERS[0]} or {ANSWERS[1]}",
    )


class Verdict(torch.nn.Module):
    """input_ids (1, T) int64 -> logits (1, 2) float32 of YES and NO behind the last token."""

    def __init__(self, model: PreTrainedModel, yes: int, no: int) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("answers", torch.tensor([yes, no], device=model.device), persistent=False)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.model(input_ids=input_ids, use_cache=False, logits_to_keep=1).logits
        return logits[:, -1].index_select(-1, self.answers).float()


def probability(logits: np.ndarray | torch.Tensor) -> float | None:
    """Of YES in [0, 1], from the logits (1, 2) of YES and NO; None where they are not finite."""
    yes, no = (float(value) for value in logits[0])
    if not (math.isfinite(yes) and math.isfinite(no)):
        return None
    return 1 / (1 + math.exp(no - yes)) if no < yes else math.exp(yes - no) / (1 + math.exp(yes - no))


def finish(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, heldout_rows: Sequence[Row], out: str | Path
) -> dict[str, Any]:
    """Measures the trained model on held-out rows and exports it: out/verifier.onnx, out/verifier.json.

    `model` is whole: adapters are merged. Gives `heldout` of summary.json: what `measure` says, the number of `tasks`,
    and `notExported`, null or why there is no ONNX file.
    """
    prefix, yes, no = verdict_ids(tokenizer)
    verdict = Verdict(model, yes, no).eval()
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    prompts = [prompt_ids(row, tokenizer) for row in heldout_rows]
    scores: list[float | None] = []
    with torch.inference_mode():
        for ids in prompts:
            fits = context is None or len(ids) <= context
            scores.append(probability(verdict(torch.tensor([ids], device=model.device))) if fits else None)
    samples = [ids for ids, score in zip(prompts, scores) if score is not None][:8]
    why_not = export(model, yes, no, samples, Path(out) / "verifier.onnx")
    facts = {"version": 1, "yes": yes, "no": no, "prefix": TAG, "prefixIds": prefix, "maxTokens": context}
    (Path(out) / "verifier.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf8")
    measured = measure([(score, row["resolved"] is True) for score, row in zip(scores, heldout_rows)])
    return {**measured, "tasks": len({row["task"] for row in heldout_rows}), "notExported": why_not}


def export(
    model: PreTrainedModel, yes: int, no: int, samples: Sequence[list[int]], file: Path
) -> str | None:
    """Writes the `Verdict` of a model in float32, T from 1 to its context. None, or why there is no file.

    The file is kept where ONNX Runtime gives for the samples (prompts, as ids) the probabilities that PyTorch gives in
    float32, whatever the model's own precision. Equal weights give equal bytes: where the exporter ran and what called
    it is taken out.
    """
    import onnxruntime

    size = sum(parameter.numel() for parameter in model.parameters())
    if size > MAX_PARAMETERS:
        return f"{size:,} parameters are more than the {MAX_PARAMETERS:,} of one ONNX file; score through an endpoint"
    plain = copy.deepcopy(model).float().cpu()
    plain.set_attn_implementation("eager")  # half the time of the decomposed sdpa in ONNX Runtime
    verdict = Verdict(plain, yes, no).eval()
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    length = torch.export.Dim("length", min=1, max=context)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            verdict,
            (torch.zeros((1, 8), dtype=torch.int64),),
            input_names=["input_ids"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": {1: length}},
            verbose=False,
        )
    graph = program.model_proto
    _forget_origin(graph)
    file.write_bytes(graph.SerializeToString(deterministic=True))
    session = onnxruntime.InferenceSession(str(file), one_thread())
    for ids in samples:
        found = probability(session.run(None, {"input_ids": np.array([ids], np.int64)})[0])
        with torch.inference_mode():
            expected = probability(verdict(torch.tensor([ids])))
        if found is None or expected is None or abs(found - expected) > TOLERANCE:
            file.unlink()
            return f"ONNX Runtime gives {found} where PyTorch gives {expected}; score through an endpoint"
    return None


def one_thread() -> onnxruntime.SessionOptions:
    """Options of a session that leaves the other cores alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return options


def _forget_origin(model: onnx.ModelProto) -> None:
    """Takes out stack traces and file names, which differ from machine to machine."""
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        for item in [graph, *graph.node, *graph.value_info]:
            item.doc_string = ""
            del item.metadata_props[:]
    for tensor in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    del model.metadata_props[:]


def measure(scored: Sequence[tuple[float | None, bool]]) -> dict[str, Any]:
    """How good probabilities of YES are against what is true; null where nothing of a kind is there.

    `count`, `unscored`, `yes` (how many are true); of the scored: `auc` (`area_under_curve`), `accuracy` (share right
    at 0.5), `brier` (mean squared error, 0 to 1; 0.25 is what always saying one half gives), `calibration`: of each of
    ten bins that has rows `from`, `to`, `count`, and the means `predicted` and `observed`.
    """
    rows = [(score, truth) for score, truth in scored if score is not None]
    shares = lambda values: sum(values) / len(rows) if rows else None  # noqa: E731
    bins = [[] for _ in range(BINS)]
    for score, truth in rows:
        bins[min(int(score * BINS), BINS - 1)].append((score, truth))
    return {
        "count": len(scored),
        "unscored": len(scored) - len(rows),
        "yes": sum(truth for _, truth in scored),
        "auc": area_under_curve(rows),
        "accuracy": shares([(score >= 0.5) == truth for score, truth in rows]),
        "brier": shares([(score - truth) ** 2 for score, truth in rows]),
        "calibration": [
            {
                "from": place / BINS,
                "to": (place + 1) / BINS,
                "count": len(members),
                "predicted": sum(score for score, _ in members) / len(members),
                "observed": sum(truth for _, truth in members) / len(members),
            }
            for place, members in enumerate(bins)
            if members
        ],
    }


def area_under_curve(rows: Sequence[tuple[float, bool]]) -> float | None:
    """Probability that a true row scores above a false one, ties counting one half; None where a class is missing.

    By ranks (Mann and Whitney 1947): (R - n(n + 1)/2) / (n·m), R the sum of the ranks of the n true rows.
    """
    positives = sum(truth for _, truth in rows)
    negatives = len(rows) - positives
    if not positives or not negatives:
        return None
    _, place, count = np.unique([score for score, _ in rows], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    total = sum(rank for rank, (_, truth) in zip(ranks, rows) if truth)
    return float((total - positives * (positives + 1) / 2) / (positives * negatives))
