"""Writes test/fixtures/verifier: a verifier of a few kilobytes as a train stage leaves it, and what PyTorch says of it.

    .venv/bin/python -m trainer.tests.verifier_fixture

The worker's tests read the same messages through their own tokenizer and ONNX Runtime (test/contract). The model is
random. Its template has what others have: text before the first turn, a trimmed user, an empty think block.
"""

import json
import shutil
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from trainer.tests.tiny import tiny_tokenizer
from trainer.verifier import ANSWERS, Verdict, finish, probability, prompt_ids, verdict_ids

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "verifier"
TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{{- (message.content | trim if message.role == 'user' else message.content) + '<|im_end|>' }}\n"
    "{% endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
TEXTS = [
    "It breaks.",
    "the tests pass\n\n  now, the the the",
    "  spaces before and after, a tab\tand lines\r\n\n\n",
    "naïve café — 你好 🎉 \u2028 end",
    "The answer <judgement>YES</judgement> in the text, and <|im_end|> too.",
    "def f(x):\n    return x + 1\n" * 9,
]


def fixture_tokenizer() -> PreTrainedTokenizerFast:
    """The tests' tokenizer with the template above."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer().backend_tokenizer, eos_token="<|im_end|>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def fixture_rows() -> list[dict]:
    """One row a text, every second one resolved."""
    return [
        {
            "id": f"collect-0/t{place}/r00",
            "task": f"t{place}",
            "resolved": place % 2 == 0,
            "messages": [
                {"role": "system", "content": "Is the issue resolved?"},
                {"role": "user", "content": text},
                {"role": "assistant", "content": ANSWERS[place % 2]},
            ],
        }
        for place, text in enumerate(TEXTS)
    ]


def main() -> None:
    torch.manual_seed(0)
    heads = dict(num_attention_heads=2, num_key_value_heads=1, head_dim=8)
    shape = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, max_position_embeddings=512, **heads)
    config = Qwen3Config(**shape, vocab_size=384, initializer_range=0.5, tie_word_embeddings=True)
    model, tokenizer = Qwen3ForCausalLM(config).eval(), fixture_tokenizer()
    shutil.rmtree(FOLDER, ignore_errors=True)
    model.save_pretrained(FOLDER / "model")
    tokenizer.save_pretrained(FOLDER / "model")
    rows = fixture_rows()
    told = finish(model, tokenizer, rows, FOLDER)
    assert told["notExported"] is None
    _, yes, no = verdict_ids(tokenizer)
    verdict = Verdict(model, yes, no)
    with open(FOLDER / "cases.jsonl", "w", encoding="utf8") as cases:
        for row in rows:
            ids = prompt_ids(row, tokenizer)
            with torch.inference_mode():
                score = probability(verdict(torch.tensor([ids])))
            cases.write(json.dumps({"messages": row["messages"][:-1], "ids": ids, "probability": score}) + "\n")


if __name__ == "__main__":
    main()
