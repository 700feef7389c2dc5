"""Masks: put together, the turns are the whole rendering, and exactly what the policy wrote is trained."""

import copy
import json
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trainer.conversations import Encoded, encode, longest_row, read_conversations, split_turns
from trainer.program import BadInput
from trainer.tests.tiny import TEMPLATES, tiny_messages, tiny_model, tiny_tokenizer

# Template -> (what a whole reply looks like in a rendering, whether the template trims a reply). Written from the
# templates' rules, not from the code under test. Group 1: the reply; group 2: the token that ends it.
CHATML = re.compile(r"<\|im_start\|>assistant\n(.*?)(<\|im_end\|>)", re.S)
REPLY = {
    "qwen3": re.compile(r"<\|im_start\|>assistant\n(?:<think>\n\n</think>\n\n)?(.*?)(<\|im_end\|>)", re.S),
    "qwen3-instruct": CHATML,
    "chatml": CHATML,
    "gemma3": re.compile(r"<start_of_turn>model\n(.*?)(<end_of_turn>)", re.S),
    "glm4": re.compile(r"<\|assistant\|>\n<think></think>\n?(.*?)(<\|user\|>|\Z)", re.S),
}
WHITE, PARTS = ["\n", "\n\n", " ", "  "], ["<", "</function>", "<think", "user", "assistant\n", "model\n"]
fragments = st.sampled_from([*WHITE, *PARTS, "a", "the tests", "é", "→", "🙂", "0"])
texts = st.lists(fragments, max_size=6).map("".join)
# Qwen3 looks at user messages that are tool responses in another way.
prompts = texts | texts.map(lambda text: f"<tool_response>{text}</tool_response>")


@st.composite
def conversations(draw):
    opening = [{"role": "system", "content": draw(texts)}] if draw(st.booleans()) else []
    turns = draw(st.lists(st.tuples(prompts, texts), min_size=1, max_size=4))
    return opening + [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]


def trained_runs(tokenizer, encoded: Encoded) -> list[str]:
    """The text of each run of trained tokens."""
    runs, before = [], False
    for token, flag in zip(encoded.ids, encoded.trained, strict=True):
        if flag:
            runs = [*runs[:-1], runs[-1] + [token]] if before else [*runs, [token]]
        before = flag
    return [tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=conversations())
@example(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": "<"}])
@example(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": "<think"}])
@example(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": "\n\n\n<\n"}])
def test_turns_make_the_whole_rendering_and_exactly_the_replies_are_trained(template, messages):
    tokenizer = tiny_tokenizer(template)
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    turns, tail = split_turns(tokenizer, messages)
    assert "".join(turn.prompt + turn.reply + turn.end for turn in turns) + tail == whole
    encoded = encode(tokenizer, messages)
    assert tokenizer.decode(encoded.ids) == whole

    replies = REPLY[template].findall(whole)
    written = [message["content"] for message in messages if message["role"] == "assistant"]
    assert [turn.reply.strip() for turn in turns] == [reply.strip() for reply, _ in replies]
    assert [turn.reply.strip() for turn in turns] == [text.strip() for text in written]
    assert [turn.end for turn in turns] == [end for _, end in replies]
    # Apart from white space, which belongs to the template where it pads an empty reply.
    runs = trained_runs(tokenizer, encoded)
    assert [run.strip() for run in runs] == [(turn.reply + turn.end).strip() for turn in turns if turn.reply + turn.end]


@pytest.mark.parametrize("template", TEMPLATES)
def test_pieces_equal_the_tokens_of_the_whole_where_nothing_merges_across_a_cut(template):
    tokenizer = tiny_tokenizer(template)
    messages = tiny_messages(3)
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    encoded = encode(tokenizer, messages)
    assert encoded.ids == tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert sum(encoded.trained) < len(encoded.ids) / 2


def test_a_reply_that_begins_with_a_new_line_does_not_melt_into_its_header():
    tokenizer = tiny_tokenizer("chatml")
    messages = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "\nnow"}]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    prompt = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    encoded = encode(tokenizer, messages)
    first = encoded.trained.index(True)
    assert encoded.ids[:first] == tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert encoded.ids != tokenizer(whole, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("reply", ["now", "<think>\n\n</think>\n\nnow"])
def test_an_empty_think_block_is_trained_only_where_the_policy_wrote_it(reply):
    tokenizer = tiny_tokenizer("qwen3")
    messages = [{"role": "user", "content": "u"}, {"role": "assistant", "content": reply}]
    assert "<think>" in tokenizer.apply_chat_template(messages, tokenize=False)
    assert trained_runs(tokenizer, encode(tokenizer, messages)) == [f"{reply}<|im_end|>"]


def letters(tokenizer, text):
    """Ids of `text` byte by byte: not what the tokenizer would give, as a sampled reply need not be."""
    return [tokenizer(char, add_special_tokens=False)["input_ids"][0] for char in text]


def test_sampled_ids_are_used_as_they_were_sampled():
    tokenizer = tiny_tokenizer("chatml")
    messages = tiny_messages(2)
    plain = encode(tokenizer, messages)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    messages[2]["tokenIds"] = letters(tokenizer, messages[2]["content"]) + [end]
    sampled = encode(tokenizer, messages)
    assert len(sampled.ids) > len(plain.ids)
    assert tokenizer.decode(sampled.ids) == tokenizer.decode(plain.ids)
    first = sampled.trained.index(True)
    assert sampled.ids[first : first + len(messages[2]["tokenIds"])] == messages[2]["tokenIds"]
    assert trained_runs(tokenizer, sampled) == trained_runs(tokenizer, plain)


def test_a_reply_cut_by_a_limit_has_an_untrained_end():
    tokenizer = tiny_tokenizer("chatml")
    messages = tiny_messages(2)
    messages[2]["tokenIds"] = letters(tokenizer, messages[2]["content"])
    cut = encode(tokenizer, messages)
    replies = [message["content"] for message in messages if message["role"] == "assistant"]
    assert trained_runs(tokenizer, cut) == [replies[0], f"{replies[1]}<|im_end|>"]
    # The same, where the policy ended with a token that is not this template's.
    messages[2]["tokenIds"].append(tokenizer.convert_tokens_to_ids("<|endoftext|>"))
    assert encode(tokenizer, messages) == cut


@pytest.mark.parametrize("ids", [[5, 6, 7], [10**6], []])
def test_ids_of_another_tokenizer_are_not_used(ids):
    tokenizer = tiny_tokenizer("chatml")
    messages = tiny_messages(1)
    plain = encode(tokenizer, messages)
    messages[2]["tokenIds"] = ids
    assert encode(tokenizer, messages) == plain


def test_a_template_that_ends_turns_with_the_next_header_trains_the_sampled_end_of_the_last_turn():
    tokenizer = tiny_tokenizer("glm4")
    messages = tiny_messages(1)
    user = tokenizer.convert_tokens_to_ids("<|user|>")
    messages[2]["tokenIds"] = letters(tokenizer, messages[2]["content"]) + [user]
    assert trained_runs(tokenizer, encode(tokenizer, messages)) == [messages[2]["content"] + "<|user|>"]


def test_a_template_that_drops_earlier_thoughts_is_refused_with_the_fix():
    messages = tiny_messages(2)
    messages[2]["content"] = "<think>\nwhy\n</think>\n\nso"
    with pytest.raises(BadInput, match="get_training_chat_template") as caught:
        encode(tiny_tokenizer("qwen3"), messages)
    assert caught.value.type == "ConfigInvalid"
    # In the last turn it keeps them, and the policy wrote them.
    messages = tiny_messages(1)
    messages[2]["content"] = "<think>\nwhy\n</think>\n\nso"
    runs = trained_runs(tiny_tokenizer("qwen3"), encode(tiny_tokenizer("qwen3"), messages))
    assert runs == [messages[2]["content"] + "<|im_end|>"]


def test_a_template_whose_prompt_is_no_prefix_is_refused():
    tokenizer = copy.deepcopy(tiny_tokenizer("chatml"))
    tokenizer.chat_template += "{% if add_generation_prompt %}<think>\n{% endif %}"
    with pytest.raises(BadInput, match="before this reply"):
        encode(tokenizer, tiny_messages(1))
    tokenizer.chat_template = "{{ raise_exception('no system message, please') }}"
    with pytest.raises(BadInput, match="no system message, please"):
        encode(tokenizer, tiny_messages(1))
    tokenizer.chat_template = None
    with pytest.raises(BadInput, match="no chat template"):
        encode(tokenizer, tiny_messages(1))


def write(path, rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return path


def rows(*turns):
    return [
        {"id": f"c/t/r{i}", "task": "t", "resolved": i % 2 == 0, "exit": "submitted", "messages": tiny_messages(count)}
        for i, count in enumerate(turns)
    ]


@pytest.mark.parametrize("overlong", ["drop", "truncate-head", "truncate-tail"])
def test_overlong_rows_are_counted_and_never_silently_cut(tmp_path, overlong):
    tokenizer = tiny_tokenizer("chatml")
    path = write(tmp_path / "conversations.jsonl", rows(1, 6, 2))
    whole = [encode(tokenizer, row["messages"]) for row in rows(1, 6, 2)]
    cutoff = len(whole[2].ids)
    iterator, counts = read_conversations(path, tokenizer, cutoff, overlong)
    read = list(iterator)
    assert counts.rows == 3
    assert counts.tokens == sum(len(row.encoded.ids) for row in read)
    assert counts.trained_tokens == sum(sum(row.encoded.trained) for row in read)
    if overlong == "drop":
        assert [(row.id, row.line, row.resolved) for row in read] == [("c/t/r0", 1, True), ("c/t/r2", 3, True)]
        assert (counts.kept, counts.dropped, counts.truncated) == (2, 1, 0)
        return
    assert (counts.kept, counts.dropped, counts.truncated) == (3, 0, 1)
    kept = slice(-cutoff, None) if overlong == "truncate-head" else slice(0, cutoff)
    assert read[1].encoded == Encoded(whole[1].ids[kept], whole[1].trained[kept])


def test_a_row_left_without_trained_tokens_is_left_out_and_counted(tmp_path):
    path = write(tmp_path / "conversations.jsonl", rows(3))
    iterator, counts = read_conversations(path, tiny_tokenizer("chatml"), 5, "truncate-tail")
    assert list(iterator) == []
    assert (counts.rows, counts.kept, counts.truncated, counts.untrained) == (1, 0, 1, 1)


def test_overlong_error_names_row_and_remedy(tmp_path):
    path = write(tmp_path / "conversations.jsonl", rows(1, 6))
    iterator, _ = read_conversations(path, tiny_tokenizer("chatml"), 60, "error")
    with pytest.raises(BadInput, match=r"line 2 \(c/t/r1\) has \d+ tokens and the cutoff is 60; raise `cutoff`"):
        list(iterator)


def turn(*roles):
    return {"id": "c/t/r0", "messages": [{"role": role, "content": "x"} for role in roles]}


@pytest.mark.parametrize(
    "row,message",
    [
        ("{oops\n", "not JSON"),
        ({"messages": []}, "`id` and `messages`"),
        ({"id": "c/t/r0", "messages": []}, r"is not \[system,\] user"),
        (turn("system"), r"is not \[system,\] user"),
        (turn("assistant", "user"), "but assistant, user"),
        (turn("user"), "but user"),
        (turn("user", "user", "assistant"), "but user, user, assistant"),
        (turn("user", "assistant", "user"), "but user, assistant, user"),
        (turn("user", "tool"), "but user, tool"),
        ({"id": "c/t/r0", "messages": [{"role": "user", "content": None}]}, "without text"),
        ({"id": "c/t/r0", "messages": [{"role": "user", "content": "a\ud83d"}]}, "not Unicode text .* at character 1"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path, row, message):
    path = write(tmp_path / "conversations.jsonl", [*rows(1), "\n", row])
    iterator, _ = read_conversations(path, tiny_tokenizer("chatml"), 1000, "drop")
    with pytest.raises(BadInput, match=message) as caught:
        list(iterator)
    assert caught.value.type == "DataUnusable"
    assert f"{path}, line 3" in caught.value.message


def test_a_missing_file_and_an_unknown_policy_are_refused(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        next(read_conversations(tmp_path / "no.jsonl", tiny_tokenizer(), 10, "drop")[0])
    path = write(tmp_path / "conversations.jsonl", rows(1))
    with pytest.raises(BadInput, match="none of drop"):
        next(read_conversations(path, tiny_tokenizer(), 10, "cut")[0])


def test_no_row_is_longer_than_what_the_model_can_take():
    config = tiny_model().config
    assert longest_row(config, 18_000) == config.max_position_embeddings == 2048
    assert longest_row(config, 100) == 100
