"""Log-probability and entropy of every conversation under the reference model:  python -m trainer.reference SPEC.json

A stage of its own, so that every arm and seed of a sweep shares it and it resumes in the middle. The input's lines are
taken SHARD_LINES at a time. A shard is written to a part file below `out/.work/reference`, which is renamed when it is
whole; what is whole is never computed again, and when all are, they become `out/reference.jsonl` in the input's order.
Within a shard, rows of similar length share a forward pass of at most `microBatchTokens` padded tokens. Shards follow
from the input alone, so a resumed run writes the same bytes as an undisturbed one.

Rows that `cutoff` and `overlong` leave out have no line. Not covered: several devices.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from trainer.conversations import Conversation, Counts, encode_line, longest_row, read_lines
from trainer.logps import token_scores
from trainer.program import BadInput, StopRequest, device_of, emit, load_model, load_tokenizer, run_program, set_threads

# Small enough that a crash costs minutes at 18,000 tokens a row, large enough that lengths can be sorted.
SHARD_LINES = 128


def main(spec: dict[str, Any], stop: StopRequest) -> None:
    set_threads(spec["threads"])
    out = Path(spec["out"])
    result = out / "reference.jsonl"
    source = Path(spec["data"]) / "conversations.jsonl"
    total = sum(1 for _ in read_lines(source))
    shards = -(-total // SHARD_LINES)
    emit("start", stage=spec["stage"], updates=shards)
    counts, passes = Counts(), 0
    if not result.exists():
        tokenizer = load_tokenizer(spec["model"])
        model = load_model(spec["model"], device_of(spec["device"]))
        cutoff = longest_row(model.config, spec["cutoff"])
        work = out / ".work" / "reference"
        work.mkdir(parents=True, exist_ok=True)
        lines = read_lines(source)
        for shard in range(shards):
            chunk = list(islice(lines, SHARD_LINES))
            whole = work / f"{shard:06d}.jsonl"
            if whole.exists():
                continue
            started, before = time.monotonic(), counts.tokens
            rows = [encode_line(source, *line, tokenizer, cutoff, spec["overlong"], counts) for line in chunk]
            kept = [row for row in rows if row is not None]
            results: dict[int, dict[str, Any]] = {}
            for batch in micro_batches(kept, spec["microBatchTokens"]):
                stop.raise_if_asked()
                for row, line in zip(batch, score(model, batch), strict=True):
                    results[row.line] = line
                passes += 1
            _write_whole(whole, work, (_line(results[row.line]) for row in kept))
            rate = (counts.tokens - before) / max(time.monotonic() - started, 1e-9)
            emit("progress", update=shard + 1, updates=shards, tokensPerSecond=round(rate, 1))
        _write_whole(result, work, _concatenated(work, shards))
    rows = sum(1 for _ in read_lines(result))
    emit("done", rows=rows, dropped=total - rows, passes=passes)


def micro_batches(rows: list[Conversation], most_tokens: int) -> Iterator[list[Conversation]]:
    """Groups of similar length, longest first, each of at most `most_tokens` padded tokens; one row always passes."""
    batch: list[Conversation] = []
    for row in sorted(rows, key=lambda row: (-len(row.encoded.ids), row.line)):
        if batch and len(batch[0].encoded.ids) * (len(batch) + 1) > most_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.inference_mode()
def score(model: PreTrainedModel, rows: list[Conversation]) -> list[dict[str, Any]]:
    """Rows of reference.jsonl: sums over trained tokens, nats, added up in float64."""
    length = max(len(row.encoded.ids) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    attention = torch.zeros_like(ids)
    trained = torch.zeros(len(rows), length, dtype=torch.bool)
    for place, row in enumerate(rows):
        size = len(row.encoded.ids)
        ids[place, :size] = torch.tensor(row.encoded.ids)
        attention[place, :size] = 1
        trained[place, :size] = torch.tensor(row.encoded.trained)
    device = model.device
    scores = token_scores(model, ids.to(device), attention.to(device), trained.to(device), with_entropy=True)
    logps, entropies = scores.logps.double().sum(1).tolist(), scores.entropy.double().sum(1).tolist()
    tokens = trained[:, 1:].sum(1).tolist()
    for row, logp in zip(rows, logps, strict=True):
        if not math.isfinite(logp):
            message = f"line {row.line} ({row.id}): its log-probability under the reference is {logp}"
            raise BadInput("DataUnusable", message)
    return [
        {"id": row.id, "tokens": count, "logProb": logp, "entropy": entropy}
        for row, count, logp, entropy in zip(rows, tokens, logps, entropies, strict=True)
    ]


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _concatenated(work: Path, shards: int) -> Iterator[str]:
    for shard in range(shards):
        with open(work / f"{shard:06d}.jsonl", encoding="utf8") as part:
            yield from part


def _write_whole(path: Path, work: Path, lines: Iterable[str]) -> None:
    """The file is there with all of its lines, or not at all."""
    part = work / f"{path.name}.part"
    with open(part, "w", encoding="utf8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


if __name__ == "__main__":
    run_program(main)
