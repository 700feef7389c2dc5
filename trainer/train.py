"""Trains one model:  python -m trainer.train SPEC.json

Methods: sft, dpo, entropo-dpo, kto, entropo-kto, verifier, over every assistant turn. In `out`: `model/`, an ordinary
Hugging Face folder; `metrics.jsonl`, a row an update; `summary.json`, written last, so that it says the stage is done.
Checkpoints, encoded rows and whatever else a resumed run needs lie in `out/.work`. A run that was killed, at any update
and in any way, ends with the same bytes in all three as one that was not (on a CPU, with the same number of threads).

The loop is our own, over torch, and not `transformers.Trainer`: an update here is a number of conversations or pairs in
micro-batches that differ in shape, normalised over the whole update, with baselines that look at all of it, and it
resumes at any update without walking through the data again; each of these would be an override.
Several processes: `torchrun -m trainer.train SPEC.json` or `accelerate launch` (world.py says what is tested).

This file holds the spec and the quick ways out; nothing heavy is imported before they are tried. Not covered: the loop
(loop.py), what is minimised (objectives.py), data (data.py).
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from trainer.program import BadInput, StopRequest, emit, run_program

# Deterministic matrix products on a GPU; must be there before CUDA is.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

FIELDS: dict[str, type | tuple[type, ...]] = {
    "stage": str,
    "out": str,
    "model": str,
    "data": str,
    "seed": int,
    "method": dict,
    "epochs": (int, float),
    "batchSize": int,
    "microBatchTokens": int,
    "learningRate": (int, float),
    "warmup": (int, float),
    "cutoff": int,
    "overlong": str,
    "checkpointUpdates": int,
    "device": str,
    "threads": int,
}
PAIR = ("beta", "ftx")
KTO = (*PAIR, "baseline", "clamp", "desirableWeight", "undesirableWeight")
METHODS = {
    "sft": (),
    "dpo": PAIR,
    "entropo-dpo": PAIR,
    "kto": KTO,
    "entropo-kto": (*KTO, "form"),
    "verifier": ("heldout",),
}


def check_spec(spec: dict[str, Any]) -> None:
    """ConfigInvalid where a field is missing or of the wrong type; the configuration's schema has checked values."""
    for name, type_ in FIELDS.items():
        if not isinstance(spec.get(name), type_):
            raise BadInput("ConfigInvalid", f"spec: `{name}` is {spec.get(name)!r}; the fields are {', '.join(FIELDS)}")
    method = spec["method"]
    needed = METHODS.get(method.get("type"))
    if needed is None:
        raise BadInput("ConfigInvalid", f"spec: method.type is {method.get('type')!r}, none of {', '.join(METHODS)}")
    for name in needed:
        if name not in method:
            message = f"spec: method.{name} is missing; {method['type']} needs {', '.join(needed)}"
            raise BadInput("ConfigInvalid", message)
    if "beta" in needed and not spec.get("reference"):
        message = f"spec: {method['type']} needs `reference`, the reference.jsonl of its model and pairs"
        raise BadInput("ConfigInvalid", message)
    for name, value in (("form", "upstream-compat"), ("baseline", "mismatched")):
        if method.get(name) == value and spec["batchSize"] < 2:
            message = f"method.{name}: {value} takes the reply of a neighbour; set batchSize to 2 or more"
            raise BadInput("ConfigInvalid", message)


def main(spec: dict[str, Any], stop: StopRequest) -> None:
    check_spec(spec)
    summary = Path(spec["out"]) / "summary.json"
    if summary.exists():
        emit("done", **json.loads(summary.read_text(encoding="utf8")))
    else:
        from trainer.loop import train

        train(spec, stop)
    for finished in ("checkpoints", "rows"):
        shutil.rmtree(summary.parent / ".work" / finished, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
