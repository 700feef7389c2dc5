"""A run that was killed, stopped, or ran out of disk ends with the same bytes as one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainer.checkpoints import newest_checkpoint
from trainer.program import StopRequest
from trainer.tests.runs import (
    METHODS,
    assert_close,
    finish,
    metrics_of,
    run_apart,
    run_signalled,
    run_with_small_files,
    spec_of,
    write_data,
)
from trainer.train import main

TOP = Path(__file__).parents[2]
CASES = {**{method: {} for method in METHODS}, "sft-lora": {"lora": {"rank": 4, "alpha": 8}}}
CASES["entropo-kto-lora"] = CASES["sft-lora"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_data(root)
    return root


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_ends_with_the_same_bytes_as_a_quiet_one(root, tmp_path, case):
    method = case.removesuffix("-lora")
    quiet, killed = (spec_of(root, tmp_path / name, method, **CASES[case]) for name in ("quiet", "killed"))
    expected = finish(quiet)
    draw = random.Random(case)
    # Looks: 20 rows to encode at most, then one before each update and one before each group.
    assert run_signalled(killed, draw.randint(24, 34), signal.SIGKILL) == -signal.SIGKILL
    assert run_signalled(killed, draw.randint(2, 8), signal.SIGTERM) == 75
    done = metrics_of(killed)
    assert finish(killed) == expected
    assert metrics_of(quiet)[: len(done)] == done


def test_a_stop_is_obeyed_within_a_group_and_repeats_no_update(root, tmp_path):
    spec = spec_of(root, tmp_path, "dpo", checkpointUpdates=100)
    assert run_signalled(spec, 31, signal.SIGTERM) == 75
    newest = newest_checkpoint(tmp_path / ".work" / "checkpoints")
    assert json.loads((newest / "state.json").read_text())["update"] == len(metrics_of(spec)) > 0


def test_a_finished_run_ends_at_once_with_the_same_files(root, tmp_path):
    spec = spec_of(root, tmp_path, "sft")
    expected = finish(spec)
    before = (tmp_path / "model" / "model.safetensors").stat()
    assert finish({**spec, "model": "/nowhere"}) == expected
    assert (tmp_path / "model" / "model.safetensors").stat() == before
    assert os.listdir(tmp_path / ".work") == []


def test_a_run_killed_while_it_exports_exports_again(root, tmp_path):
    spec = spec_of(root, tmp_path / "killed", "sft")
    expected = finish(spec_of(root, tmp_path / "quiet", "sft"))
    finish(spec)
    (tmp_path / "killed" / "summary.json").unlink()
    (tmp_path / "killed" / "model" / "model.safetensors").write_bytes(b"torn")
    assert finish(spec) == expected


def test_a_full_disk_is_a_crash_that_the_older_checkpoint_survives(root, tmp_path):
    full, quiet = (spec_of(root, tmp_path / name, "dpo") for name in ("full", "quiet"))
    assert run_signalled(full, 33, signal.SIGTERM) == 75
    checkpoints = tmp_path / "full" / ".work" / "checkpoints"
    before = newest_checkpoint(checkpoints)
    weights = (before / "weights.safetensors").stat().st_size
    assert run_with_small_files(full, weights // 2) == 1
    assert newest_checkpoint(checkpoints) == before
    assert finish(full) == finish(quiet)


@pytest.mark.parametrize("method", ["sft", "entropo-dpo", "entropo-kto", "kto"])
def test_two_processes_compute_what_one_does(root, tmp_path, method):
    alone, together = (spec_of(root, tmp_path / name, method, learningRate=1e-4) for name in ("alone", "together"))
    finish(alone)
    port = str(20_000 + os.getpid() % 20_000)

    def process(rank: int) -> None:
        os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        main(together, StopRequest())

    child = os.fork()
    if child == 0:
        os._exit(run_apart(lambda: process(1)))
    assert run_apart(lambda: process(0)) == 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert_close(metrics_of(alone), metrics_of(together), 1e-4)
    mine, theirs = (load_file(Path(spec["out"]) / "model" / "model.safetensors") for spec in (alone, together))
    for name in mine:
        assert torch.allclose(mine[name], theirs[name], atol=1e-5), name


def test_the_program_stops_when_its_parent_is_gone_and_goes_on_when_started_again(root, tmp_path):
    spec = spec_of(root, tmp_path / "out", "dpo", epochs=200)
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "trainer.train", str(tmp_path / "spec.json")]
    with subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        events = []
        for line in program.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "checkpoint":
                break
        program.stdin.close()
        events += [json.loads(line) for line in program.stdout]
    assert program.returncode == 75
    assert events[0]["event"] == "start" and events[0]["update"] == 0
    assert events[-1] == {"event": "checkpoint", "update": len(metrics_of(spec))}
