"""From messages to token ids, keeping the ids that this server sampled.

Tokenising a reply again need not give the tokens that were sampled: the text of two pieces is also the text of one.
So replies are remembered with the conversation before them, and where a later conversation contains one, its sampled
ids stand in the prompt: it then continues what lies in the slots, and is what the policy really saw and wrote. Only
what is new is tokenised. A reply that the template renders otherwise, or that was forgotten, is tokenised as any text.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

Message = dict[str, str]
Key = TypeVar("Key")
Value = TypeVar("Value")


class TemplateRefused(ValueError):
    """The model's chat template does not take these messages."""


@dataclass(frozen=True)
class Prompt:
    text: str
    ids: list[int]
    key: bytes
    """Digest of the messages."""


@dataclass(frozen=True)
class _Reply:
    prompt: Prompt
    text: str
    ids: list[int]
    end: str
    """Text of the end token, which is the last of `ids`; empty where none was sampled."""


class Chat:
    """The tokenizer of one model, with the last replies and texts: at most `size` and `most_bytes` of each."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        end_ids: frozenset[int],
        size: int = 4096,
        most_bytes: int = 256 * 2**20,
    ) -> None:
        self.tokenizer, self.end_ids = tokenizer, end_ids
        self._replies: _Memory[bytes, _Reply] = _Memory(size, most_bytes)
        self._encoded: _Memory[str, list[int]] = _Memory(size, most_bytes)
        self._pieces: dict[int, str] = {}

    def prompt(self, messages: list[Message]) -> Prompt:
        """The conversation up to where the assistant is to write."""
        try:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise TemplateRefused(str(error)) from error
        keys = _digests(messages)
        for message, key in zip(reversed(messages), reversed(keys)):
            reply = self._replies.get(key) if message["role"] == "assistant" else None
            if reply is None:
                continue
            for written in dict.fromkeys((reply.text, reply.text.strip())):
                start = reply.prompt.text + written
                if not text.startswith(start):
                    continue
                rest, ids = text[len(start) :], reply.ids
                if reply.end and rest.startswith(reply.end):
                    rest = rest[len(reply.end) :]
                elif reply.end:
                    ids = ids[:-1]
                return Prompt(text, reply.prompt.ids + ids + self._encode(rest), keys[-1])
        return Prompt(text, self._encode(text), keys[-1])

    def remember(self, prompt: Prompt, text: str, ids: list[int]) -> None:
        """Keeps a reply as it was sampled, the end token included. Not one whose ids say more than its text (cut at a
        stop text, special tokens in its middle): nobody who reads the conversation would know what the model saw."""
        end = self.piece(ids[-1]) if ids and ids[-1] in self.end_ids else ""
        spoken = ids[:-1] if end else ids
        if self.tokenizer.decode(spoken, skip_special_tokens=False, clean_up_tokenization_spaces=False) != text:
            return
        key = _digest(prompt.key, {"role": "assistant", "content": text})
        self._replies.put(key, _Reply(prompt, text, ids, end), _bytes(prompt.text, prompt.ids))

    def text(self, ids: list[int]) -> str:
        """The text of sampled ids, without the end token and special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def piece(self, token: int) -> str:
        """The text of one token; part of a character becomes the replacement character."""
        if token not in self._pieces:
            self._pieces[token] = self.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return self._pieces[token]

    def _encode(self, text: str) -> list[int]:
        ids = self._encoded.get(text)
        if ids is None:
            # The template has written the special tokens already.
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            self._encoded.put(text, ids, _bytes(text, ids))
        return ids


class _Memory(Generic[Key, Value]):
    """What was used last: at most `size` entries, together of at most `most_bytes`."""

    def __init__(self, size: int, most_bytes: int) -> None:
        self._size, self._most_bytes = size, most_bytes
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> Value | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: Key, value: Value, bytes_: int) -> None:
        _, before = self._entries.pop(key, (None, 0))
        self._entries[key] = value, bytes_
        self._bytes += bytes_ - before
        while len(self._entries) > self._size or self._bytes > self._most_bytes:
            _, (_, gone) = self._entries.popitem(last=False)
            self._bytes -= gone


def _bytes(text: str, ids: list[int]) -> int:
    """About what they take: a letter a byte, an id a number and a place in a list."""
    return len(text) + 40 * len(ids)


def _digest(before: bytes, message: Message) -> bytes:
    text = json.dumps([message["role"], message["content"]])
    return hashlib.blake2b(before + text.encode(), digest_size=16).digest()


def _digests(messages: list[Message]) -> list[bytes]:
    """One for each message: of it and all before it."""
    digests, last = [], b""
    for message in messages:
        last = _digest(last, message)
        digests.append(last)
    return digests
