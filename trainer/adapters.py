"""Low-rank adapters: put on every linear layer, trained alone, merged into the weights that are exported.

Merged on export, always: a preference stage then starts from plain weights, and "adapter off" is the model it was
given. Training on top of an unmerged adapter silently makes the untuned base the reference.

Not covered: quantized base weights; experts kept as one fused tensor, which peft does not see as linear layers.
"""

from __future__ import annotations

import torch
from torch import nn


def add_adapter(model: nn.Module, rank: int, alpha: float) -> nn.Module:
    """The model with fresh adapters; only they are trained. It computes what it did before: the second factor is 0."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


def trained_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that are trained, by name; a weight that two layers share appears once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def merge_adapter(model: nn.Module) -> nn.Module:
    """The plain model with the adapter added to its weights; a model without one as it is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
