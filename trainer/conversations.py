"""From recorded conversations to token ids and the mask of what is trained.

A conversation is rendered by the tokenizer's chat template and cut into turns. What the policy saw before a reply is
the rendering of the messages before it and the header of a reply; it must be a prefix of the whole, or one sequence
cannot stand for all turns. After it come an empty think block that some templates add (not trained), the reply
(trained), the token that ends it (trained: the policy samples it), and whatever leads to the next reply (not trained).

The pieces are tokenized apart, as they were when the policy wrote its reply behind a tokenized prompt. Where the record
holds the ids that were sampled, and they spell the reply in this tokenizer, those are used; the ids of another
tokenizer (a teacher's) do not, and the text is.

Not covered: batches and files of encoded rows (batches.py); tool calls outside of a message's text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from trainer.program import BadInput

OVERLONG = ("drop", "truncate-head", "truncate-tail", "error")
Message = dict[str, Any]


@dataclass(frozen=True)
class Encoded:
    """One conversation as tokens, T of them."""

    ids: list[int]
    #: The policy wrote this token and learns from it.
    trained: list[bool]


@dataclass(frozen=True)
class Conversation:
    """A row of conversations.jsonl."""

    id: str
    task: str
    #: None: nobody graded it.
    resolved: bool | None
    encoded: Encoded
    #: In the file, from 1.
    line: int


@dataclass
class Counts:
    """What became of the rows read so far. `rows` = `kept` + `dropped` + `untrained`."""

    rows: int = 0
    kept: int = 0
    #: Longer than the cutoff, left out.
    dropped: int = 0
    #: Longer than the cutoff, cut. Part of `kept` or `untrained`.
    truncated: int = 0
    #: Left out because the cut took every trained token.
    untrained: int = 0
    #: Of the kept rows.
    tokens: int = 0
    trained_tokens: int = 0


@dataclass(frozen=True)
class Turn:
    """Consecutive text of a rendering. `prompt` is what the policy had not yet seen, `end` what ends its reply."""

    prompt: str
    reply: str
    #: With the white space that the template puts before it. Empty where the template ends a turn with nothing.
    end: str


def encode(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> Encoded:
    """Ids of the whole conversation; trained are the replies and the tokens that end them, in every turn."""
    turns, tail = split_turns(tokenizer, messages)
    replies = [message for message in messages if message["role"] == "assistant"]
    texts = [text for turn in turns for text in (turn.prompt, turn.reply, turn.end)]
    pieces = tokenizer([*texts, tail], add_special_tokens=False)["input_ids"]
    ids: list[int] = []
    trained: list[bool] = []
    for place, (turn, message) in enumerate(zip(turns, replies, strict=True)):
        prompt, reply, end = pieces[3 * place : 3 * place + 3]
        sampled, ended = _sampled(tokenizer, message, turn, end)
        reply = reply if sampled is None else sampled
        ids += prompt + reply + end
        trained += [False] * len(prompt) + [True] * len(reply) + [ended] * len(end)
    ids += pieces[-1]
    trained += [False] * len(pieces[-1])
    return Encoded(ids, trained)


def _sampled(
    tokenizer: PreTrainedTokenizerBase, message: Message, turn: Turn, end: list[int]
) -> tuple[list[int] | None, bool]:
    """The ids that the policy sampled as its reply, without the end, and whether it sampled the end too.

    (None, True) without a record, or with one that does not spell this reply in this tokenizer. A reply that was cut by
    a limit has no sampled end: the template's stands in the sequence, untrained.
    """
    ids = list(message.get("tokenIds") or ())
    if not ids:
        return None, True
    ended = end[-1:] == ids[-1:]
    if ended or (end and ids[-1] in _ends(tokenizer)[1]):
        ids = ids[:-1]
    spelled = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if not end:  # this template leaves the end to the next message: the last sampled token may be one
        spelled = _ends(tokenizer)[0].sub("", spelled)
    return (ids, ended) if spelled in (message["content"], turn.reply) else (None, True)


def split_turns(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> tuple[list[Turn], str]:
    """The rendering of a conversation, cut into its turns, and what follows the last. Put together they are all."""
    plain = [{"role": message["role"], "content": message["content"]} for message in messages]
    places = [place for place, message in enumerate(plain) if message["role"] == "assistant"]
    if not tokenizer.chat_template:
        message = "the tokenizer has no chat template; put the model's own into chat_template.jinja"
        raise BadInput("ConfigInvalid", message)
    end_pattern, _ = _ends(tokenizer)
    try:
        whole = tokenizer.apply_chat_template(plain, tokenize=False)
        prompts = tokenizer.apply_chat_template(
            [plain[:place] for place in places], tokenize=False, add_generation_prompt=True
        )
    except TemplateError as error:
        raise BadInput("DataUnusable", f"the chat template refuses this conversation: {error}") from error
    turns: list[Turn] = []
    at = 0
    for place, prompt in zip(places, prompts, strict=True):
        if not whole.startswith(prompt) or len(prompt) < at:
            raise _rewritten(place, "what stands before this reply")
        start, stop = _find_reply(whole, len(prompt), plain[place]["content"], place)
        ending = end_pattern.match(whole, stop)
        after = ending.end() if ending else stop
        turns.append(Turn(whole[at:start], whole[start:stop], whole[stop:after]))
        at = after
    return turns, whole[at:]


_THOUGHT = re.compile(r"\s*<think>\s*</think>")
_SPACE = re.compile(r"\s*")


def _find_reply(whole: str, start: int, content: str, place: int) -> tuple[int, int]:
    """Where the reply stands that begins at `start`: as it was written, trimmed, or behind an added think block."""
    own, added = _THOUGHT.match(content), _THOUGHT.match(whole, start)
    # A reply such as `<` also stands at the beginning of a think block that the template added.
    if whole.startswith(content, start) and content.strip() and (added is None or own is not None):
        return start, start + len(content)
    bodies = [content] if own is None else [content, content[own.end() :]]
    text = _SPACE.match(whole, start if added is None else added.end()).end()
    for body in bodies:
        lead = len(body) - len(body.lstrip())
        for reply, begin in ((body, text - lead), (body.lstrip(), text), (body.strip(), text)):
            if begin >= start and whole.startswith(reply, begin):
                return begin, begin + len(reply)
    raise _rewritten(place, "this reply")


def _rewritten(place: int, what: str) -> BadInput:
    return BadInput(
        "ConfigInvalid",
        f"the chat template rewrites {what} (message {place}) when it renders the whole conversation, so one sequence "
        "cannot stand for every turn; use a template that keeps history as it was (for known models "
        "trl.chat_template_utils.get_training_chat_template gives one), in serving as in training",
    )


@lru_cache(maxsize=8)
def _ends(tokenizer: PreTrainedTokenizerBase) -> tuple[re.Pattern[str], frozenset[int]]:
    """What can end a reply: a special token, with white space before it, as a pattern; and the ids of all of them."""
    first = tokenizer.convert_ids_to_tokens(tokenizer("x", add_special_tokens=False)["input_ids"])[0]
    if first.startswith("\u2581"):
        raise BadInput(
            "ConfigInvalid",
            "this tokenizer puts a space before every text, so prompt and reply cannot be tokenized apart; set "
            "add_prefix_space to false in its tokenizer_config.json if the model was trained so, or use another model",
        )
    added = tokenizer.added_tokens_decoder
    names = {token.content for token in added.values() if token.special} | set(tokenizer.all_special_tokens)
    ids = {number for number, token in added.items() if token.special} | set(tokenizer.all_special_ids)
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(r"\s*(?:" + "|".join(map(re.escape, longest_first)) + ")"), frozenset(ids)


def longest_row(config: PretrainedConfig, cutoff: int) -> int:
    """Most tokens of a row: the cutoff, or what the model can take where that is less."""
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    return cutoff if most is None else min(cutoff, most)


def read_conversations(
    path: str | Path, tokenizer: PreTrainedTokenizerBase, cutoff: int, overlong: str
) -> tuple[Iterator[Conversation], Counts]:
    """Streams the rows of a conversations.jsonl, in order, encoded. The counts grow while the iterator is consumed.

    Rows of more than `cutoff` tokens: `drop` leaves them out, `truncate-head` cuts their beginning away,
    `truncate-tail` their end, `error` refuses the file.
    """
    counts = Counts()
    return _read(Path(path), tokenizer, cutoff, overlong, counts), counts


def _read(
    path: Path, tokenizer: PreTrainedTokenizerBase, cutoff: int, overlong: str, counts: Counts
) -> Iterator[Conversation]:
    for number, text in read_lines(path):
        row = encode_line(path, number, text, tokenizer, cutoff, overlong, counts)
        if row is not None:
            yield row


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of each line that is not blank."""
    try:
        with open(path, encoding="utf8") as lines:
            for number, text in enumerate(lines, 1):
                if text.strip():
                    yield number, text
    except FileNotFoundError as error:
        raise BadInput("DataUnusable", f"{path} does not exist: the stage that writes it has not run") from error


def encode_line(
    path: Path,
    number: int,
    text: str,
    tokenizer: PreTrainedTokenizerBase,
    cutoff: int,
    overlong: str,
    counts: Counts,
) -> Conversation | None:
    """One row, or None where it is left out; counted either way."""
    if overlong not in OVERLONG:
        raise BadInput("ConfigInvalid", f"overlong: {overlong!r} is none of {', '.join(OVERLONG)}")
    where = f"{path}, line {number}"
    row = _parse(where, text)
    try:
        encoded = encode(tokenizer, row["messages"])
    except BadInput as error:
        raise BadInput(error.type, f"{where} ({row['id']}): {error.message}") from error
    counts.rows += 1
    length = len(encoded.ids)
    if length > cutoff:
        if overlong == "error":
            raise BadInput(
                "ConfigInvalid",
                f"{where} ({row['id']}) has {length} tokens and the cutoff is {cutoff}; raise `cutoff` (no further "
                "than the model's context), or set `overlong` to drop, truncate-head or truncate-tail",
            )
        if overlong == "drop":
            counts.dropped += 1
            return None
        kept = slice(length - cutoff, None) if overlong == "truncate-head" else slice(0, cutoff)
        encoded = Encoded(encoded.ids[kept], encoded.trained[kept])
        counts.truncated += 1
    trained = sum(encoded.trained[1:])  # nothing stands before a first token: it is never scored
    if trained == 0:
        counts.untrained += 1
        return None
    counts.kept += 1
    counts.tokens += len(encoded.ids)
    counts.trained_tokens += trained
    return Conversation(row["id"], row.get("task", ""), row.get("resolved"), encoded, number)


def _parse(where: str, text: str) -> dict[str, Any]:
    """A row that can be rendered; DataUnusable names what is wrong with any other."""

    def refuse(what: str) -> BadInput:
        return BadInput("DataUnusable", f"{where}: {what}; make the stage that wrote it again, or remove the line")

    try:
        row = json.loads(text)
    except ValueError as error:
        raise refuse(f"not JSON ({error})") from error
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not isinstance(row.get("messages"), list):
        raise refuse("not a conversation: `id` and `messages` are needed")
    messages = row["messages"]
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise refuse(f"{row['id']} has a message without text")
        try:
            message["content"].encode()
        except UnicodeEncodeError as error:
            what = f"{error.reason} at character {error.start}"
            raise refuse(f"{row['id']} has a message that is not Unicode text ({what})") from error
    roles = [message.get("role") for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if not turns or len(turns) % 2 or turns != ["user", "assistant"] * (len(turns) // 2):
        given = ", ".join(map(str, roles))
        raise refuse(f"{row['id']} is not [system,] user, assistant, user, assistant … but {given}")
    return row
