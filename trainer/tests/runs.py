"""Small training runs for tests: a folder of data, specs for every method, processes killed at a given point."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path

from trainer import reference, train
from trainer.program import BadInput, StopRequest, Stopped
from trainer.tests.tiny import tiny_folder, tiny_messages

PAIR = {"beta": 0.1, "ftx": 0.0}
KTO = {**PAIR, "baseline": "batch", "clamp": False, "desirableWeight": "auto", "undesirableWeight": 1}
METHODS = {
    "sft": {"type": "sft", "keep": "all"},
    "dpo": {"type": "dpo", **PAIR},
    "entropo-dpo": {"type": "entropo-dpo", "entropyRatio": 1.5, **PAIR, "ftx": 0.2},
    "kto": {"type": "kto", **KTO, "baseline": "mismatched"},
    "entropo-kto": {"type": "entropo-kto", "form": "paper", "alpha": 0.15, **KTO, "ftx": 0.2},
    "upstream-kto": {"type": "entropo-kto", "form": "upstream-compat", "entropyRatio": 1.1, **KTO},
}
# What a finished run leaves, by bytes.
RESULT = ("model/model.safetensors", "model/config.json", "model/tokenizer.json", "metrics.jsonl", "summary.json")


def write_data(root: Path) -> None:
    """`model/`, `pairs/` and `reference/` below `root`: 10 tasks with a resolved and an unresolved rollout of each."""
    tiny_folder(root / "model")
    draw = random.Random(7)
    rows = [
        {
            "id": f"collect-1/t{task}/r0{side}",
            "task": f"t{task}",
            "resolved": side == 0,
            "exit": "submitted",
            "messages": tiny_messages(draw.randint(1, 4), word="xy"[side]),
        }
        for task in range(10)
        for side in (0, 1)
    ]
    write_rows(root / "pairs" / "conversations.jsonl", rows)
    names = {(row["task"], row["resolved"]): row["id"] for row in rows}
    pairs = [
        {"id": f"{task}/0", "task": task, "chosen": names[task, True], "rejected": names[task, False]}
        for task in [f"t{number}" for number in range(10)]
    ]
    write_rows(root / "pairs" / "pairs.jsonl", pairs)
    labels = [{"id": row["id"], "task": row["task"], "desirable": row["resolved"]} for row in rows]
    write_rows(root / "pairs" / "labels.jsonl", labels)
    write_reference(root, root / "model", root / "reference")


def write_reference(root: Path, model: Path, out: Path) -> None:
    out.mkdir()
    shared = {"cutoff": 18000, "overlong": "drop", "microBatchTokens": 2048, "device": "cpu", "threads": 1}
    spec = {"stage": "reference-1", "out": str(out), "model": str(model), "data": str(root / "pairs"), **shared}
    reference.main(spec, StopRequest())


def spec_of(root: Path, out: Path, case: str, **changes) -> dict:
    """A run of 6 updates over two epochs (SFT, KTO: 10), with groups smaller than the update."""
    out.mkdir(parents=True, exist_ok=True)
    preference = case != "sft"
    return {
        "stage": f"train-{case}",
        "out": str(out),
        "model": str(root / "model"),
        "data": str(root / "pairs" if preference else root / "pairs" / "conversations.jsonl"),
        "reference": str(root / "reference" / "reference.jsonl") if preference else None,
        "seed": 5,
        "method": METHODS[case],
        "epochs": 2,
        "batchSize": 4,
        "microBatchTokens": 500,
        "learningRate": 3e-4,
        "warmup": 0.2,
        "cutoff": 18000,
        "overlong": "drop",
        "lora": None,
        "checkpointUpdates": 2,
        "device": "cpu",
        "threads": 1,
        **changes,
    }


def finish(spec: dict) -> dict[str, bytes]:
    """Runs the program to its end in this process; the bytes it leaves."""
    train.main(spec, StopRequest())
    return {name: (Path(spec["out"]) / name).read_bytes() for name in RESULT}


def metrics_of(spec: dict) -> list[dict]:
    return [json.loads(line) for line in (Path(spec["out"]) / "metrics.jsonl").read_text().splitlines()]


def assert_close(one: list[dict], other: list[dict], tolerance: float) -> None:
    """Two runs' metrics agree, by name."""
    assert len(one) == len(other)
    for row, same in zip(one, other):
        assert row.keys() == same.keys()
        for name, value in row.items():
            if value is None or same[name] is None:
                assert value == same[name], name
            else:
                assert abs(value - same[name]) <= tolerance * (1 + abs(value)), (name, row["update"], value, same[name])


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class SignalAt(StopRequest):
    """Sends its own process a signal when it is looked at for the n-th time: at the same point in every run."""

    def __init__(self, look: int, number: signal.Signals) -> None:
        super().__init__()
        self._looks_left, self._number = look, number

    def __bool__(self) -> bool:
        self._looks_left -= 1
        if self._looks_left == 0:
            os.kill(os.getpid(), self._number)
        return super().__bool__()


def run_apart(action: Callable[[], None]) -> int:
    """Runs an action in a forked process; its exit code as the program would give it, or minus the signal."""
    process = multiprocessing.get_context("fork").Process(target=_exit_with, args=(action,))
    process.start()
    process.join()
    return process.exitcode


def _exit_with(action: Callable[[], None]) -> None:
    try:
        action()
    except Stopped:
        os._exit(75)
    except BadInput:
        os._exit(65)
    except BaseException:
        os._exit(1)
    os._exit(0)


def run_signalled(spec: dict, look: int, number: signal.Signals) -> int:
    return run_apart(lambda: train.main(spec, SignalAt(look, number).watch()))


def run_with_small_files(spec: dict, most_bytes: int) -> int:
    """As on a disk that is full once a file has this size."""

    def action() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        train.main(spec, StopRequest())

    return run_apart(action)
