"""The tiny model's corpus as tokens and batches.

Tokenised once into one flat array; a batch is rows alike in length, padded right. Which rows are in which batch is a
function of (seed, epoch), so the place in the data is one number, the update. Not covered: other models' data
(conversations.py, batches.py), which need not fit into memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from trainer.folders import replace_folder
from trainer.tokenizer import END, START

# Conversations handed to the tokenizer at a time.
CHUNK = 2000
# Lengths within this many tokens of each other are shuffled into one bucket.
LENGTH_SPREAD = 40


class Corpus:
    """JSON lines `{"messages": [...]}` at `path`, and what is known of them in `NAME.json` beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.facts: dict = json.loads(path.with_suffix(".json").read_text(encoding="utf8"))

    def conversations(self) -> Iterator[list[dict]]:
        with open(self.path, encoding="utf8") as file:
            for line in file:
                yield json.loads(line)["messages"]


class Tokens:
    """All conversations. ids: (T,) uint16, end to end; starts: (N + 1,) offsets into it."""

    def __init__(self, ids: np.ndarray, starts: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> None:
        self.ids, self.starts, self.pad = ids, starts, tokenizer.pad_token_id
        self.lengths = np.diff(starts)
        self.header = tokenizer.convert_tokens_to_ids(f"{START}assistant\n")
        self.end = tokenizer.convert_tokens_to_ids(END)

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, L) int64 token ids, padded right, and (B, L) booleans: the policy wrote this token."""
        ids = np.full((len(rows), int(self.lengths[rows].max())), self.pad, dtype=np.int64)
        for row, index in zip(ids, rows, strict=True):
            own = self.ids[self.starts[index] : self.starts[index + 1]]
            row[: len(own)] = own
        return torch.from_numpy(ids), torch.from_numpy(self.written(ids))

    def written(self, ids: np.ndarray) -> np.ndarray:
        """(B, L) booleans: behind an assistant's header, up to and with the end of its turn."""
        before = np.roll(ids, 1, axis=1)
        before[:, 0] = self.pad
        headers, ends = (_last(before == token) for token in (self.header, self.end))
        return headers > ends


def _last(hits: np.ndarray) -> np.ndarray:
    """(B, L) positions of the last hit up to each place; -1 before the first."""
    return np.maximum.accumulate(np.where(hits, np.arange(hits.shape[1]), -1), axis=1)


def tokenise(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Tokens:
    """Encodes the corpus into `folder`; where that is done already, reads it."""
    if not folder.exists():
        ids: list[np.ndarray] = []
        texts: list[str] = []

        def encode() -> None:
            encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
            ids.extend(np.array(one, dtype=np.uint16) for one in encoded)
            texts.clear()

        for messages in corpus.conversations():
            texts.append(tokenizer.apply_chat_template(messages, tokenize=False))
            if len(texts) == CHUNK:
                encode()
        encode()
        with replace_folder(folder) as made:
            np.save(made / "ids.npy", np.concatenate(ids))
            np.save(made / "starts.npy", np.cumsum([0, *map(len, ids)]))
    return Tokens(np.load(folder / "ids.npy"), np.load(folder / "starts.npy"), tokenizer)


def epoch_batches(lengths: np.ndarray, batch_tokens: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Rows of each batch: alike in length, at most `batch_tokens` with padding (one row may be longer), shuffled."""
    draw = np.random.default_rng([seed, epoch])
    order = draw.permutation(len(lengths))
    order = order[np.argsort(lengths[order] + draw.random(len(order)) * LENGTH_SPREAD, kind="stable")]
    batches, first, longest = [], 0, 0
    for at, row in enumerate(order):
        longest = max(longest, int(lengths[row]))
        if at > first and (at - first + 1) * longest > batch_tokens:
            batches.append(order[first:at])
            first, longest = at, int(lengths[row])
    batches.append(order[first:])
    return [batches[i] for i in draw.permutation(len(batches))]


def batches_from(update: int, lengths: np.ndarray, batch_tokens: int, seed: int) -> Iterator[np.ndarray]:
    """The batches of an endless run, without the first `update` ones."""
    epoch = 0
    while True:
        batches = epoch_batches(lengths, batch_tokens, seed, epoch)
        yield from batches[update:]
        update = max(0, update - len(batches))
        epoch += 1
