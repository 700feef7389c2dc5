"""The loop: updates from the newest checkpoint to the last, then the exported model.

Order of an update: draw units, group them, forward and backward by group, sum gradients over processes, one look at the
figures (the only wait for the device), clip, step, one row of metrics. Learning rate, drawn units and random numbers
are functions of seed and update, so weights and optimizer state are all that a checkpoint keeps besides counters.

Not covered: what is minimised (objectives.py), files of a checkpoint (checkpoints.py).
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer import adapters, checkpoints
from trainer.alarms import Alarms
from trainer.batches import group_units, update_count, update_units
from trainer.conversations import longest_row
from trainer.data import TrainData, encode_data, heldout_ids, open_data, rows_of
from trainer.folders import replace_folder
from trainer.objectives import Kto, Scorer, check_agreement, make_objective, needs_reference_model
from trainer.program import (
    BadInput,
    StopRequest,
    Stopped,
    device_of,
    emit,
    load_model,
    load_tokenizer,
    seed_everything,
    set_threads,
)
from trainer.world import World

CLIP_NORM = 1.0
# Nats per token. Rounding of float32 sums stays far below; of bfloat16 products it does not.
AGREEMENT = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
PROGRESS_SECONDS = 0.5


def train(spec: dict[str, Any], stop: StopRequest) -> None:
    """Trains what the spec says and leaves `model/`, `metrics.jsonl` and `summary.json` in `out`."""
    started = time.monotonic()
    set_threads(spec["threads"])
    torch.use_deterministic_algorithms(True)
    device = device_of(spec["device"])
    world = World(device)
    if world.size > 1 and device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    tokenizer = load_tokenizer(spec["model"])
    model = load_model(spec["model"], device)
    cutoff = longest_row(model.config, spec["cutoff"])
    aside = heldout_ids(spec)
    if world.first:
        encode_data(spec, tokenizer, cutoff, stop, aside)
    world.wait()
    data = open_data(spec, cutoff)
    run = Run(spec, model, tokenizer, data, cutoff, world, stop)
    if world.first:
        emit("start", **run.describe(), seconds=round(time.monotonic() - started, 1))
    run.play()
    model = run.finished_model()
    if world.first:
        with replace_folder(run.out / "model") as made:
            model.save_pretrained(made)
            tokenizer.save_pretrained(made)
            checkpoints.sync_folder(made)
        summary = run.summary()
        if spec["method"]["type"] == "verifier":
            from trainer.verifier import finish

            summary["heldout"] = finish(model, tokenizer, rows_of(spec, aside), run.out)
        # The summary says that all is done: what a power cut leaves of the rest must be whole by then.
        for made in run.out.iterdir():
            if made.is_file():
                checkpoints.sync_file(made)
        checkpoints.write_durably(run.out / "summary.json", json.dumps(summary, ensure_ascii=False) + "\n")
        emit("done", **summary)
    world.wait()
    world.close()


class Run:
    """A run between two updates: `update` of `updates` are done."""

    def __init__(self, spec: dict, model, tokenizer, data: TrainData, cutoff: int, world: World, stop: StopRequest):
        self.spec, self.data, self.world, self.stop = spec, data, world, stop
        self.out = Path(spec["out"])
        self.updates = update_count(len(data), spec["epochs"], spec["batchSize"])
        self.update = 0
        self.micro_batch_tokens = spec["microBatchTokens"]
        self.halved = False
        method, lora = spec["method"], spec.get("lora")
        preference = data.reference is not None
        self.stored_dtype = model.dtype
        seed_everything(spec["seed"])
        # A low-rank adapter is its own reference when switched off; otherwise the reference is a copy from before.
        reference = None
        if preference and needs_reference_model(method) and not lora:
            reference = copy.deepcopy(model).requires_grad_(False)
        if lora:
            model = adapters.add_adapter(model, lora["rank"], lora["alpha"])
            if preference and needs_reference_model(method):
                reference = model
        elif model.device.type == "cuda":
            model = model.float()  # an update at 1e-5 is lost in a bfloat16 weight
        autocast = model.device.type == "cuda" and self.stored_dtype == torch.bfloat16
        self.tolerance = AGREEMENT[torch.bfloat16 if autocast else torch.float32]
        # Dropout stays off for preference methods: policy and reference must agree before the first update.
        self.model = model.train(not preference)
        self.device = next(model.parameters()).device
        scorer = Scorer(model, reference, _pad_id(tokenizer), self.device, autocast)
        self.objective = make_objective(method, data, scorer, cutoff)
        self._alarms = None
        if preference and world.first:
            self._alarms = Alarms(self.updates, self.objective.alpha, self.objective.beta)
        self.weights = adapters.trained_weights(model)
        self.optimizer = torch.optim.AdamW(
            self.weights.values(), lr=spec["learningRate"], weight_decay=0.0, fused=True
        )
        self.tokens = 0
        self._resume()

    def describe(self) -> dict:
        """The start event: what is trained, on what, how."""
        objective = self.objective
        return {
            "stage": self.spec["stage"],
            "method": self.spec["method"]["type"],
            **self.data.counts,
            "update": self.update,
            "updates": self.updates,
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
            "trainedParameters": sum(weight.numel() for weight in self.weights.values()),
            "device": self.device.type,
            "processes": self.world.size,
            **({"alpha": objective.alpha, "beta": objective.beta} if self.data.reference is not None else {}),
            **({"classWeights": objective.weights} if isinstance(objective, Kto) else {}),
        }

    def play(self) -> None:
        """Runs every update that is left. Stopped after a checkpoint where a stop was asked for."""
        saved = self.update
        every = self.spec["checkpointUpdates"]
        spoken, spoken_tokens = time.monotonic(), self.tokens
        while self.update < self.updates:
            try:
                if self.world.any(bool(self.stop)):
                    raise Stopped
                metrics = self._guarded_update()
            except Stopped:
                if self.update > saved:
                    self._save()
                raise
            self.update += 1
            self._write_metrics(metrics)
            for warning in self._alarms.see(metrics) if self._alarms else ():
                emit("warning", update=self.update, **warning)
            now = time.monotonic()
            if self.world.first and (now - spoken >= PROGRESS_SECONDS or self.update == self.updates):
                rate = (self.tokens - spoken_tokens) / max(now - spoken, 1e-9)
                done = {"update": self.update, "updates": self.updates, "loss": metrics["loss"]}
                emit("progress", **done, tokensPerSecond=round(rate, 1))
                spoken, spoken_tokens = now, self.tokens
            if self.update % every == 0 and self.update < self.updates:
                self._save()
                saved = self.update
        if self.world.first:
            self._metrics.close()

    def finished_model(self):
        """The plain model, adapters merged, in the precision in which it was stored."""
        return adapters.merge_adapter(self.model).to(self.stored_dtype).eval()

    def summary(self) -> dict:
        with open(self.out / "metrics.jsonl", encoding="utf8") as lines:
            rows = [json.loads(line) for line in lines]
        last = rows[-max(1, len(rows) // 10) :]
        order = (self.spec["seed"], len(self.data), self.spec["epochs"], self.spec["batchSize"])
        draws = [int(unit) for update in range(self.updates) for unit in update_units(*order, update)]
        summary = {
            "method": self.spec["method"]["type"],
            **self.data.counts,
            "tokens": sum(self.data.tokens(unit) for unit in draws),
            "trainedTokens": rows[-1]["tokens"],
            "updates": self.updates,
            "finalLoss": sum(row["loss"] for row in last) / len(last),
        }
        if self.data.reference is not None:
            summary["saturated"] = sum(row["saturated"] for row in rows) / len(rows)
            summary["alpha"], summary["beta"] = self.objective.alpha, self.objective.beta
        return summary

    def _guarded_update(self) -> dict:
        """One update; where the GPU's memory does not suffice, once more with half the tokens at a time."""
        try:
            return self._one_update()
        except torch.OutOfMemoryError as error:
            self.optimizer.zero_grad()
            if self.halved or self.world.size > 1:
                raise BadInput(
                    "ConfigInvalid",
                    f"update {self.update + 1} does not fit into the GPU's memory with microBatchTokens = "
                    f"{self.micro_batch_tokens}; lower `cutoff` or `microBatchTokens`, or set `lora`",
                ) from error
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.micro_batch_tokens //= 2
        self.halved = True
        emit(
            "warning",
            update=self.update + 1,
            message=f"out of GPU memory; going on with microBatchTokens = {self.micro_batch_tokens}, half of before",
        )
        return self._guarded_update()

    def _one_update(self) -> dict:
        spec, data = self.spec, self.data
        torch.manual_seed(_seed_of(spec["seed"], self.update, self.world.rank))
        drawn = update_units(spec["seed"], len(data), spec["epochs"], spec["batchSize"], self.update).tolist()
        places = group_units(data.units[drawn].tolist(), data.rows.lengths, self.micro_batch_tokens)
        groups = [[drawn[place] for place in group] for group in places]
        self.objective.begin(drawn, groups, self.world)
        order, figures = [], []
        for group in self.world.share(groups):
            if self.world.size == 1:
                self._raise_if_asked()
            loss, figure = self.objective.loss(group)
            loss.backward()
            order += group
            figures.append(figure)
        self.world.sum_gradients(self.weights.values())
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), CLIP_NORM)
        figures, norm, order = self._look(figures, norm, order)
        self._refuse_divergence(figures, norm, order)
        metrics = self.objective.metrics(figures)
        gap = metrics.pop("gap", 0.0)
        if self.update == 0:
            check_agreement(gap, [data.ids[unit] for unit in order], self.tolerance)
        rate = spec["learningRate"] * rate_factor(self.update, self.updates, spec["warmup"])
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.tokens += sum(data.trained_tokens(unit) for unit in drawn)
        seen = min((self.update + 1) * spec["batchSize"], spec["epochs"] * len(data))
        return {
            "update": self.update + 1,
            "updates": self.updates,
            "epoch": round(seen / len(data), 4),
            "loss": metrics.pop("loss"),
            "learningRate": rate,
            "gradNorm": norm,
            "tokens": self.tokens,
            **metrics,
        }

    def _look(
        self, figures: list[torch.Tensor], norm: torch.Tensor, order: list[int]
    ) -> tuple[np.ndarray, float, list[int]]:
        """The update's figures from all processes, in one transfer each."""
        if self.world.size == 1:
            flat = torch.cat([torch.cat(figures).flatten(), norm.double()[None]]).cpu().numpy()
            return flat[:-1].reshape(len(order), -1), float(flat[-1]), order
        width = figures[0].shape[1] if figures else 0
        width = int(self.world.gather(torch.tensor([width])).max())
        rows = torch.cat(figures) if figures else torch.empty(0, width, dtype=torch.float64)
        order = self.world.gather(torch.tensor(order, dtype=torch.int64)).tolist()
        return self.world.gather(rows).numpy(), float(norm), order

    def _refuse_divergence(self, figures: np.ndarray, norm: float, order: list[int]) -> None:
        if np.isfinite(figures).all() and math.isfinite(norm):
            return
        bad = [self.data.ids[unit] for unit, row in zip(order, figures, strict=True) if not np.isfinite(row).all()]
        named = bad or [self.data.ids[unit] for unit in order]
        raise BadInput(
            "TrainerDiverged",
            f"update {self.update + 1}: loss {self.objective.metrics(figures)['loss']}, gradient norm {norm}; "
            f"{'not finite in' if bad else 'the rows were'} {', '.join(named[:16])}; lower the learning rate or raise "
            "the warm-up, and look at these rows",
        )

    def _raise_if_asked(self) -> None:
        if self.stop:
            self.optimizer.zero_grad()
            raise Stopped

    def _write_metrics(self, metrics: dict) -> None:
        if self.world.first:
            self._metrics.write(json.dumps(metrics, allow_nan=False).encode() + b"\n")
            self._metrics.flush()

    def _save(self) -> None:
        if self.world.first:
            os.fsync(self._metrics.fileno())
            state = {
                "metricsBytes": self._metrics.tell(),
                "tokens": self.tokens,
                "microBatchTokens": self.micro_batch_tokens,
                "halved": self.halved,
            }
            folder = self.out / ".work" / "checkpoints"
            checkpoints.save_checkpoint(folder, self.update, self.weights, self.optimizer, state)
            emit("checkpoint", update=self.update)
        self.world.wait()

    def _resume(self) -> None:
        """Takes up the newest complete checkpoint; without one, starts over."""
        folder = self.out / ".work" / "checkpoints"
        newest = None
        if self.world.first:
            newest = checkpoints.newest_checkpoint(folder)
        self.world.wait()
        if not self.world.first:
            newest = checkpoints.newest_checkpoint(folder)
        written = 0
        if newest is not None:
            state = checkpoints.load_checkpoint(newest, self.weights, self.optimizer)
            self.update, self.tokens, written = state["update"], state["tokens"], state["metricsBytes"]
            self.micro_batch_tokens, self.halved = state["microBatchTokens"], state["halved"]
        if self.world.first:
            self._metrics = open(self.out / "metrics.jsonl", "ab")
            self._metrics.truncate(written)


def rate_factor(update: int, updates: int, warmup: float) -> float:
    """Share of the learning rate in update 0, 1, …: rises over the first `warmup` of them, then falls, both linearly.

    Never 0: the first and the last update learn something too.
    """
    rising = math.ceil(warmup * updates - 1e-9)
    return (update + 1) / rising if update < rising else (updates - update) / (updates - rising)


def _seed_of(seed: int, update: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, update, rank]).generate_state(1)[0])


def _pad_id(tokenizer) -> int:
    pad = tokenizer.pad_token_id
    return pad if pad is not None else tokenizer.eos_token_id or 0
