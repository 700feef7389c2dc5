"""A checkpoint counts when it is complete; a torn one never does."""

import resource
from pathlib import Path

import pytest
import torch

from trainer.checkpoints import KEPT, load_checkpoint, newest_checkpoint, save_checkpoint


def trained(seed: int) -> tuple[dict[str, torch.Tensor], torch.optim.Optimizer]:
    """A weight that was updated twice, with the optimizer that did it."""
    weight = torch.nn.Parameter(torch.randn(64, 64, generator=torch.Generator().manual_seed(seed)))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    for _ in range(2):
        update(weight, optimizer)
    return {"weight": weight}, optimizer


def update(weight: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    (weight**2).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_loaded_run_goes_on_as_the_saved_one(tmp_path: Path):
    weights, optimizer = trained(1)
    save_checkpoint(tmp_path, 2, weights, optimizer, {"metricsBytes": 17})
    others, other_optimizer = trained(2)
    assert load_checkpoint(newest_checkpoint(tmp_path), others, other_optimizer) == {"update": 2, "metricsBytes": 17}
    update(weights["weight"], optimizer)
    update(others["weight"], other_optimizer)
    assert torch.equal(weights["weight"], others["weight"])


def test_only_the_newest_are_kept(tmp_path: Path):
    weights, optimizer = trained(1)
    for number in (5, 10, 15, 20):
        save_checkpoint(tmp_path, number, weights, optimizer, {})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["update-000015", "update-000020"]
    assert KEPT == 2


def test_an_incomplete_checkpoint_is_ignored_and_removed(tmp_path: Path):
    weights, optimizer = trained(1)
    save_checkpoint(tmp_path, 5, weights, optimizer, {})
    save_checkpoint(tmp_path, 10, weights, optimizer, {})
    (tmp_path / "update-000010" / "complete").unlink()
    (tmp_path / ".update-000015").mkdir()
    assert newest_checkpoint(tmp_path).name == "update-000005"
    assert [entry.name for entry in tmp_path.iterdir()] == ["update-000005"]


def test_without_a_checkpoint_there_is_none(tmp_path: Path):
    assert newest_checkpoint(tmp_path / "never") is None


def test_a_full_disk_leaves_the_older_checkpoint_usable(tmp_path: Path):
    weights, optimizer = trained(1)
    save_checkpoint(tmp_path, 5, weights, optimizer, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))  # smaller than the weights: 64 * 64 * 4 bytes
    try:
        with pytest.raises(Exception, match="(?i)file too large|i/o error"):
            save_checkpoint(tmp_path, 10, weights, optimizer, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [entry.name for entry in tmp_path.iterdir()] == ["update-000005"]
    assert load_checkpoint(newest_checkpoint(tmp_path), *trained(3))["update"] == 5


def test_weights_of_another_model_are_refused(tmp_path: Path):
    weights, optimizer = trained(1)
    save_checkpoint(tmp_path, 5, weights | {"adapter": torch.zeros(2)}, optimizer, {})
    with pytest.raises(ValueError, match="adapter"):
        load_checkpoint(newest_checkpoint(tmp_path), *trained(1))
