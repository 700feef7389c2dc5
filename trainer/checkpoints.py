"""Checkpoints: what a run needs to go on as if it had never stopped, and when they count.

A checkpoint is a folder `update-000050` with the trained weights, the optimizer's state and `state.json` (the data
cursor, counters and the length of metrics.jsonl). Learning rate, data order and random numbers are pure functions of
seed and update (loop.py), so there is no scheduler or generator state to keep. It is written under another name,
flushed to disk and renamed; the file `complete` comes last. Without that file a folder is a torn write: it is ignored
and removed. Two complete ones are kept, so that losing the newest to a bad disk costs one interval.

Not covered: when to write one (loop.py), optimizer state split over several processes.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

KEPT = 2


def save_checkpoint(
    folder: Path, update: int, weights: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer, state: dict
) -> None:
    """Writes `folder/update-NNNNNN` durably and drops all but the newest `KEPT`. Raises OSError where the disk is full.

    weights: trained tensors by name. state: anything JSON can hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"update-{update:06d}"
    beside = folder / f".{final.name}"
    for stale in (beside, final):
        shutil.rmtree(stale, ignore_errors=True)
    beside.mkdir()
    try:
        tensors = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
        save_file(tensors, beside / "weights.safetensors")
        torch.save(optimizer.state_dict(), beside / "optimizer.pt")
        (beside / "state.json").write_text(json.dumps({"update": update, **state}))
        sync_folder(beside)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    os.replace(beside, final)
    (final / "complete").write_text("")
    sync_folder(final)
    sync_file(folder)
    for old in _complete(folder)[:-KEPT]:
        shutil.rmtree(old)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None; removes what a crash left unfinished."""
    if not folder.exists():
        return None
    for entry in folder.iterdir():
        if not (entry / "complete").exists():
            shutil.rmtree(entry)
    complete = _complete(folder)
    return complete[-1] if complete else None


def load_checkpoint(
    checkpoint: Path, weights: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> dict:
    """Fills `weights` in place, and the optimizer; returns the state. In place, so that memory stays aligned as it was:
    CPU kernels may sum in another order on unaligned memory."""
    stored = load_file(checkpoint / "weights.safetensors")
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(stored.pop(name))
    if stored:
        raise ValueError(f"{checkpoint}: holds weights that this model has not: {', '.join(sorted(stored)[:3])}")
    optimizer.load_state_dict(torch.load(checkpoint / "optimizer.pt", map_location="cpu", weights_only=True))
    return json.loads((checkpoint / "state.json").read_text())


def write_durably(path: Path, text: str) -> None:
    """The file is there whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync_file(path.parent)


def sync_folder(folder: Path) -> None:
    """Flushes every file below the folder, and the folder itself, to disk."""
    for entry in folder.rglob("*"):
        sync_file(entry)
    sync_file(folder)


def sync_file(path: Path) -> None:
    """Flushes one file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _complete(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.glob("update-*") if (entry / "complete").exists())
