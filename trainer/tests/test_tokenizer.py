"""The tiny tokenizer: text survives, turns do not run into each other, boilerplate is one token."""

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.conversations import encode
from trainer.corpus import Tokens
from trainer.tokenizer import BOILERPLATE, END, HEADERS, PAD, PIECES, ROLES, SPECIAL, START, train_tokenizer

TEXTS = ["def f(xs, limit):\n    total = 0\n    for v in xs:\n        if v <= limit:\n            total += v\n"] * 9


@cache
def tokenizer():
    return train_tokenizer(TEXTS, entries=400)


def ids_of(text: str) -> list[int]:
    return tokenizer().encode(text, add_special_tokens=False)


# Pieces of boilerplate and their neighbours, where tokens could cross a border, and any text without special tokens.
NEAR = st.sampled_from(
    [*BOILERPLATE, "\n", "\n\n", " ", "  ", "12", "def f(xs):", "é", "\t", "<|", "im_end|>", "/testbed"]
)
PLAIN = st.lists(NEAR | st.text(max_size=6), max_size=8).map("".join)
CONTENT = PLAIN.filter(lambda text: not any(special in text for special in SPECIAL))
MESSAGES = st.lists(st.tuples(st.sampled_from(ROLES), CONTENT), min_size=1, max_size=6).map(
    lambda turns: [{"role": role, "content": content} for role, content in turns]
)


@settings(max_examples=150, deadline=None)
@given(PLAIN)
def test_any_text_comes_back(text: str) -> None:
    assert tokenizer().decode(ids_of(text), clean_up_tokenization_spaces=False) == text


@settings(max_examples=150, deadline=None)
@given(MESSAGES)
def test_turns_encoded_apart_are_the_encoded_conversation(messages: list[dict]) -> None:
    whole = tokenizer().apply_chat_template(messages, tokenize=False)
    apart = []
    for message in messages:
        header, body = f"{START}{message['role']}\n", message["content"]
        for piece in (header, body, END, "\n"):
            apart += ids_of(piece)
    assert ids_of(whole) == apart


@settings(max_examples=150, deadline=None)
@given(MESSAGES)
def test_exactly_what_the_policy_writes_is_trained(messages: list[dict]) -> None:
    ids = ids_of(tokenizer().apply_chat_template(messages, tokenize=False))
    tokens = Tokens(np.array(ids, dtype=np.uint16), np.array([0, len(ids)]), tokenizer())
    batch, written = tokens.batch(np.array([0]))
    expected = [
        token for message in messages if message["role"] == "assistant" for token in ids_of(message["content"] + END)
    ]
    assert batch[0][written[0]].tolist() == expected


def test_training_on_rollouts_encodes_a_conversation_to_the_same_ids_and_mask() -> None:
    messages = [
        {"role": "system", "content": "mend"},
        {"role": "user", "content": "<github_issue>\nx\n</github_issue>\nSteps Remaining: 9"},
        {
            "role": "assistant",
            "content": "Look.\n<function=finish>\n<parameter=command>submit</parameter>\n</function>",
        },
        {"role": "user", "content": "Exit code: 0\nSteps Remaining: 8"},
        {"role": "assistant", "content": "Done."},
    ]
    ids = ids_of(tokenizer().apply_chat_template(messages, tokenize=False))
    tokens = Tokens(np.array(ids, dtype=np.uint16), np.array([0, len(ids)]), tokenizer())
    encoded = encode(tokenizer(), messages)
    assert encoded.ids == ids
    assert encoded.trained == tokens.batch(np.array([0]))[1][0].tolist()


@pytest.mark.parametrize("text", [*HEADERS, *BOILERPLATE, *SPECIAL, *"0123456789"])
def test_boilerplate_headers_and_digits_are_single_tokens(text: str) -> None:
    assert len(ids_of(text)) == 1


def test_no_learned_token_holds_two_digits_or_a_line_break_and_text() -> None:
    added = {str(token) for token in tokenizer().added_tokens_decoder.values()}
    learned = [tokenizer().decode([i]) for i in range(len(tokenizer()))]
    for text in (text for text in learned if text not in added):
        assert sum(character.isdigit() for character in text) <= 1
        assert text == "\n" or "\n" not in text


def test_the_prompt_of_a_reply_ends_with_the_header() -> None:
    asked = [{"role": "user", "content": "x"}]
    text = tokenizer().apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text == f"{START}user\nx{END}\n{START}assistant\n"


def test_the_saved_tokenizer_is_the_same_and_plain_json(tmp_path) -> None:
    from transformers import AutoTokenizer

    tokenizer().save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    sample = "".join([*BOILERPLATE, *TEXTS, "é\t  x"])
    assert loaded.encode(sample, add_special_tokens=False) == ids_of(sample)
    assert loaded.chat_template == tokenizer().chat_template
    assert (loaded.eos_token, loaded.pad_token) == (END, PAD)
    saved = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf8"))
    # JavaScript has another look-behind and other normalisers.
    assert saved["normalizer"] is None
    assert "(?<" not in PIECES and saved["pre_tokenizer"]["pretokenizers"][0]["pattern"] == {"Regex": PIECES}
