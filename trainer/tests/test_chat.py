"""What the model is shown: templates, and sampled ids in the place of the text they came from."""

from __future__ import annotations

import pytest

from trainer.chat import Chat, TemplateRefused
from trainer.tests.tiny import tiny_tokenizer

TASK = [{"role": "system", "content": "mend it"}, {"role": "user", "content": "def f(x):"}]


def open_chat(template: str = "chatml", **bounds: int) -> Chat:
    tokenizer = tiny_tokenizer(template)
    return Chat(tokenizer, frozenset({tokenizer.eos_token_id}), **bounds)


def rendered(chat: Chat, messages: list[dict[str, str]]) -> list[int]:
    return chat.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)


def spelled(chat: Chat, text: str) -> list[int]:
    """The text letter by letter: ids that the tokenizer itself would not give."""
    ids = [token for letter in text for token in chat.tokenizer.encode(letter, add_special_tokens=False)]
    assert ids != chat.tokenizer.encode(text, add_special_tokens=False) and chat.text(ids) == text
    return ids


def turns(*texts: str) -> list[dict[str, str]]:
    """The task, then replies and observations in turn."""
    return TASK + [{"role": ("assistant", "user")[place % 2], "content": text} for place, text in enumerate(texts)]


@pytest.mark.parametrize("template", ["qwen3", "qwen3-instruct", "chatml", "gemma3", "glm4"])
def test_a_conversation_that_was_not_sampled_here_is_rendered_and_tokenised_whole(template: str) -> None:
    chat = open_chat(template)
    messages = turns("return x", "the tests pass") if template != "gemma3" else TASK[1:]
    assert chat.prompt(messages).ids == rendered(chat, messages)


def test_sampled_ids_stand_where_the_reply_is_and_only_what_follows_is_tokenised() -> None:
    chat = open_chat()
    end = chat.tokenizer.eos_token_id
    first = chat.prompt(TASK)
    reply = [*spelled(chat, "return x"), end]
    chat.remember(first, "return x", reply)
    second = chat.prompt(turns("return x", "the tests pass"))
    assert second.ids[: len(first.ids) + len(reply)] == first.ids + reply
    assert chat.tokenizer.decode(second.ids) == second.text

    # The next turn keeps both replies.
    again = [*spelled(chat, "now the"), end]
    chat.remember(second, "now the", again)
    third = chat.prompt(turns("return x", "the tests pass", "now the", "x"))
    assert third.ids[: len(second.ids) + len(again)] == second.ids + again
    assert chat.tokenizer.decode(third.ids) == third.text


def test_a_reply_that_was_cut_off_gets_the_end_that_the_template_writes() -> None:
    chat = open_chat()
    first = chat.prompt(TASK)
    reply = spelled(chat, "return")
    chat.remember(first, "return", reply)
    second = chat.prompt(turns("return", "the tests"))
    start = len(first.ids) + len(reply)
    assert second.ids[:start] == first.ids + reply
    assert second.ids[start] == chat.tokenizer.eos_token_id


def test_a_template_that_trims_replies_still_gets_the_sampled_ids() -> None:
    chat = open_chat("qwen3")
    first = chat.prompt(TASK)
    reply = [*spelled(chat, "\nreturn x\n\n"), chat.tokenizer.eos_token_id]
    chat.remember(first, "\nreturn x\n\n", reply)
    second = chat.prompt(turns("\nreturn x\n\n", "the tests pass"))
    assert second.ids[: len(first.ids) + len(reply)] == first.ids + reply


@pytest.mark.parametrize(
    "messages",
    [
        turns("return y", "the tests pass"),
        [TASK[0], {"role": "user", "content": "another"}, *turns("return x", "the tests pass")[2:]],
    ],
    ids=["another reply", "another task"],
)
def test_ids_of_another_conversation_are_not_taken(messages: list[dict[str, str]]) -> None:
    chat = open_chat()
    chat.remember(chat.prompt(TASK), "return x", spelled(chat, "return x"))
    assert chat.prompt(messages).ids == rendered(chat, messages)


def test_the_oldest_reply_is_forgotten() -> None:
    chat = open_chat(size=2)
    for text in ("return x", "return y", "now x"):
        chat.remember(chat.prompt(TASK), text, spelled(chat, text))
    kept = [chat.prompt(messages := turns(text, "x")).ids != rendered(chat, messages) for text in ("return x", "now x")]
    assert kept == [False, True]


def test_messages_that_the_template_refuses_are_a_refusal() -> None:
    chat = open_chat("gemma3")
    with pytest.raises(TemplateRefused, match="alternate"):
        chat.prompt([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])


def test_the_text_of_a_reply_has_no_special_tokens() -> None:
    chat = open_chat()
    ids = chat.tokenizer.encode("the<|im_start|> tests", add_special_tokens=False)
    assert chat.text(ids) == "the tests"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [("return", "return x"), ("the tests", "the<|im_start|> tests")],
    ids=["cut at a stop text", "a special token in its middle"],
)
def test_a_reply_whose_ids_say_more_than_its_text_is_shown_as_its_text(text: str, sampled: str) -> None:
    chat = open_chat()
    chat.remember(chat.prompt(TASK), text, chat.tokenizer.encode(sampled, add_special_tokens=False))
    messages = turns(text, "x")
    assert chat.prompt(messages).ids == rendered(chat, messages)


def test_long_conversations_take_the_place_of_more_than_one_reply() -> None:
    prompt = open_chat().prompt(TASK)
    chat = open_chat(most_bytes=2 * (len(prompt.text) + 40 * len(prompt.ids)))
    for text in ("return x", "return y", "now x"):
        chat.remember(prompt, text, spelled(chat, text))
    texts = ("return x", "return y", "now x")
    kept = [chat.prompt(messages := turns(text, "x")).ids != rendered(chat, messages) for text in texts]
    assert kept == [False, True, True]
