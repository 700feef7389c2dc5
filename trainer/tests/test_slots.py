"""Slots against the plain model: lengths, copies, continuation, windows, and what falls back."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3TextConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
)

from trainer.slots import FIRST_ROWS, Piece, PlainRunner, SlotRunner, open_runner
from trainer.tests.tiny import tiny_model

SHAPE = dict(
    vocab_size=384,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    initializer_range=0.3,
    max_position_embeddings=2048,
    pad_token_id=0,
)
OTHERS = {
    "llama": LlamaConfig(**SHAPE),
    "qwen2": Qwen2Config(**SHAPE),
    "mistral, every layer windowed": MistralConfig(**SHAPE, sliding_window=16),
    "gemma3, windowed and full layers": Gemma3TextConfig(
        **SHAPE, head_dim=8, sliding_window=16, layer_types=["sliding_attention", "full_attention"]
    ),
}
ARCHITECTURES = ["qwen3", "qwen3-moe", "gemma2", "gpt2", "glm4", "cohere2", *OTHERS]
LINE = [1 + (7 * place) % 380 for place in range(300)]


def build(name: str) -> PreTrainedModel:
    if name not in OTHERS:
        return tiny_model(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(copy.deepcopy(OTHERS[name])).eval()


def plain(name: str, ids: list[int]) -> torch.Tensor:
    return build(name)(input_ids=torch.tensor([ids])).logits[0, -1].float()


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_logits_equal_the_plain_models_at_every_length_after_copies_and_continuation(name: str) -> None:
    runner, reason = open_runner(build(name), 6)
    assert isinstance(runner, SlotRunner), reason
    long = FIRST_ROWS + 20  # rows grow in between, and windows of 16 slide
    held = {0: LINE[:3], 1: LINE[5:40], 3: LINE[:long]}
    runner.extend([Piece(slot, 0, ids) for slot, ids in held.items()])

    runner.copy(3, 4, 50)  # the first part of a longer conversation
    runner.copy(1, 5, 35)  # the whole of one
    held |= {4: LINE[:50], 5: LINE[5:40]}
    # Side by side and apart, one token and several, one slot that is cut back to 30 tokens.
    new = {0: [9], 1: [8], 3: [7, 6, 5], 4: [4] * 20, 5: [3]}
    held[3] = held[3][:30]
    pieces = [Piece(slot, len(held[slot]), ids) for slot, ids in new.items()]
    logits = runner.extend(pieces)

    for row, slot in enumerate(new):
        expected = plain(name, held[slot] + new[slot])
        assert expected.std() > 0.01
        assert torch.allclose(logits[row], expected, atol=1e-4), (name, slot, (logits[row] - expected).abs().max())


@torch.inference_mode()
def test_single_tokens_of_neighbouring_slots_of_different_lengths_see_their_own_conversation_only() -> None:
    runner, _ = open_runner(build("qwen3"), 5)
    held = {slot: LINE[slot : 10 + 30 * slot] for slot in range(1, 5)}
    runner.extend([Piece(slot, 0, ids) for slot, ids in held.items()])
    for token in (11, 12, 13):
        logits = runner.extend([Piece(slot, len(ids), [token]) for slot, ids in held.items()])
        held = {slot: [*ids, token] for slot, ids in held.items()}
    for row, ids in enumerate(held.values()):
        assert torch.allclose(logits[row], plain("qwen3", ids), atol=1e-4)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (MambaConfig(vocab_size=384, hidden_size=32, num_hidden_layers=2, pad_token_id=0), "linear_attention"),
        (BloomConfig(vocab_size=384, hidden_size=32, n_layer=2, n_head=4), "no attention interface"),
        (
            LlamaConfig(**SHAPE, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}),
            "rotary positions",
        ),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
@torch.inference_mode()
def test_a_model_that_does_not_fit_the_slots_runs_plainly_and_says_why(config: object, words: str) -> None:
    model = AutoModelForCausalLM.from_config(config).eval()
    runner, reason = open_runner(model, 3)
    assert isinstance(runner, PlainRunner) and words in reason
    runner.extend([Piece(0, 0, LINE[:20]), Piece(2, 0, LINE[:4])])
    logits = runner.extend([Piece(0, 20, LINE[20:22]), Piece(2, 4, [5])])
    for row, ids in enumerate((LINE[:22], [*LINE[:4], 5])):
        expected = model(input_ids=torch.tensor([ids])).logits[0, -1]
        assert torch.allclose(logits[row], expected, atol=1e-4)


@torch.inference_mode()
def test_a_model_whose_slots_would_be_wrong_is_found_out() -> None:
    model = tiny_model("qwen3")
    attention = model.model.layers[1].self_attn
    inner = attention.forward

    def other(hidden_states: torch.Tensor, **kwargs: object):
        # A layer of its own that looks along the row: packed conversations would see each other.
        return inner(hidden_states=hidden_states.cumsum(1), **kwargs)

    attention.forward = other
    runner, reason = open_runner(model, 3)
    assert isinstance(runner, PlainRunner) and "differ" in reason


@pytest.mark.parametrize("kind", [SlotRunner, PlainRunner])
@torch.inference_mode()
def test_a_runner_that_forgets_is_as_it_was_at_the_beginning(kind: type) -> None:
    runner = kind(build("qwen3"), 2)
    first = runner.extend([Piece(0, 0, LINE[:9])])
    long = [1 + place % 380 for place in range(2 * FIRST_ROWS)]
    runner.extend([Piece(1, 0, long)])
    runner.forget()
    assert not any(torch.is_tensor(layer.keys) for layer in getattr(runner, "layers", []))
    assert torch.equal(runner.extend([Piece(0, 0, LINE[:9])]), first)
    assert getattr(runner, "rows", FIRST_ROWS) == FIRST_ROWS
