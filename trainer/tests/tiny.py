"""Random models and tokenizers of a few kilobytes, for tests: the architecture and the template are the real ones.

Chat templates are those that TRL ships, byte for byte the models' own.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers import Cohere2Config, Gemma2Config, Gemma3TextConfig, Glm4MoeConfig, GPT2Config, Qwen3Config
from transformers import Qwen3MoeConfig

# Name -> (file below trl/chat_templates, special tokens; the first ends a turn, the last begins a text or is None).
TEMPLATES: dict[str, tuple[str, list[str]]] = {
    "qwen3": ("qwen3", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"]),
    "qwen3-instruct": ("qwen3_instruct_2507", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"]),
    "chatml": ("qwen2_5", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"]),
    "gemma3": ("gemma3", ["<end_of_turn>", "<start_of_turn>", "<eos>", "<bos>"]),
    "glm4": ("glm4moe", ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "[gMASK]", "<sop>"]),
}
# Makes merges across new lines and spaces, which is where cuts between turns could go wrong.
CORPUS = ["def f(x):\n    return x + 1\n\n\nuser\nassistant\nmodel\n", "the tests pass\n\n  now, the the the\n\n"] * 20


@cache
def tiny_tokenizer(template: str = "qwen3") -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of about 330 words with the named model's chat template and special tokens."""
    name, special = TEMPLATES[template]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = dict(vocab_size=320, initial_alphabet=alphabet, special_tokens=special, show_progress=False)
    core.train_from_iterator(CORPUS, trainers.BpeTrainer(**options))
    end, bos = special[0], "<bos>" if "<bos>" in special else None
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=end, pad_token=end, bos_token=bos)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.chat_template = files("trl").joinpath("chat_templates", f"{name}.jinja").read_text(encoding="utf8")
    return tokenizer


def tiny_model(
    architecture: str = "qwen3", *, vocabulary: int = 384, seed: int = 0, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """Two layers, 32 wide, random; logits spread enough that log-probabilities differ. In evaluation mode."""
    shape = dict(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=2048,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    experts = dict(moe_intermediate_size=16, num_experts_per_tok=2)
    routed = dict(n_routed_experts=4, first_k_dense_replace=1, n_group=1, topk_group=1)
    config = {
        "gpt2": lambda: GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3),
        "qwen3": lambda: Qwen3Config(**shape, tie_word_embeddings=True),
        "qwen3-moe": lambda: Qwen3MoeConfig(**shape, **experts, num_experts=4),
        "gemma2": lambda: Gemma2Config(**shape, final_logit_softcapping=2.0, query_pre_attn_scalar=8),
        "gemma3": lambda: Gemma3TextConfig(**shape, query_pre_attn_scalar=8, sliding_window=16),
        "glm4": lambda: Glm4MoeConfig(**shape, **experts, **routed),
        "cohere2": lambda: Cohere2Config(**{**shape, "logit_scale": 0.25}),
    }[architecture]()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    return model.to(dtype).eval()


def tiny_folder(path: Path, *, template: str = "qwen3", seed: int = 0) -> Path:
    """A Hugging Face folder: a tiny model and its tokenizer."""
    tiny_model(seed=seed).save_pretrained(path)
    tiny_tokenizer(template).save_pretrained(path)
    return path


def tiny_messages(turns: int, *, word: str = "x") -> list[dict]:
    """A conversation of `turns` replies whose texts differ."""
    messages: list[dict] = [{"role": "system", "content": "mend it"}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"run {turn}: {word * (turn + 1)}"})
        messages.append({"role": "assistant", "content": f"the tests {word * (turn + 2)}\n\nnow {turn}"})
    return messages
