"""From encoded conversations to what passes through the model at once.

Encoded once, the conversations lie in three flat files (token ids, trained-token mask, row bounds) and are mapped, not
read: a data set larger than memory costs nothing here. A *unit* is what the loss cannot take apart: one conversation,
or the two of a pair. An update takes `batchSize` units in a seeded order; they are grouped by length so that a *group*
(one backward pass) holds at most `microBatchTokens` padded tokens, and a group runs as a few *rectangles* (one forward
pass each), cut so that little padding is left.

Rows are padded on the right: under causal attention no real token sees the padding, so it changes nothing but time.

Not covered: text and templates (conversations.py), losses (losses.py), packing several rows into one (it needs
variable-length attention kernels).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from trainer.checkpoints import sync_file, write_durably

# Tokens whose time equals the fixed cost of one more forward and backward call; measured on the shipped 4-layer model
# (about 8 ms at 4,500 tokens/s). Larger models pay less for a call, relative to their tokens: the cut is then coarser
# than the best one, never wrong.
CALL_TOKENS = 40


class EncodedRows:
    """Conversations as token ids, on disk: `tokens.bin` (int32), `trained.bin` (uint8), `rows.json` (ids, ends)."""

    def __init__(self, folder: Path):
        index = json.loads((folder / "rows.json").read_text())
        self.ids: list[str] = index["ids"]
        self.notes: dict = index["notes"]
        self._ends = np.asarray([0, *index["ends"]], dtype=np.int64)
        total = int(self._ends[-1])
        self._tokens = _mapped(folder / "tokens.bin", np.int32, total)
        self._trained = _mapped(folder / "trained.bin", np.uint8, total)
        self.lengths = np.diff(self._ends)
        """(rows,) tokens of each row."""
        self.trained_counts = np.asarray(index["trained"], dtype=np.int64)
        """(rows,) trained tokens of each row."""

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids (length,) int32 and trained mask (length,) uint8; views, not copies."""
        start, end = self._ends[index], self._ends[index + 1]
        return self._tokens[start:end], self._trained[start:end]

    @staticmethod
    def write(folder: Path, rows: Iterable[tuple[str, Sequence[int], Sequence[int]]], notes: dict) -> None:
        """Streams `(id, token ids, trained mask)` to disk. `rows.json` comes last, when the rest is flushed: without it
        nothing is there.

        `notes` is stored beside, and may be filled while `rows` is consumed (counts of what was dropped).
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rows.json").unlink(missing_ok=True)
        ids: list[str] = []
        ends: list[int] = []
        trained_counts: list[int] = []
        end = 0
        with open(folder / "tokens.bin", "wb") as tokens_file, open(folder / "trained.bin", "wb") as trained_file:
            for row_id, tokens, trained in rows:
                mask = np.asarray(trained, dtype=np.uint8)
                tokens_file.write(np.asarray(tokens, dtype=np.int32).tobytes())
                trained_file.write(mask.tobytes())
                end += len(mask)
                ids.append(row_id)
                ends.append(end)
                trained_counts.append(int(mask.sum()))
        for name in ("tokens.bin", "trained.bin"):
            sync_file(folder / name)
        index = {"ids": ids, "ends": ends, "trained": trained_counts, "notes": notes}
        write_durably(folder / "rows.json", json.dumps(index))

    @staticmethod
    def written(folder: Path) -> bool:
        """True once `write` has finished there."""
        return (folder / "rows.json").exists()


def _mapped(path: Path, dtype: type, count: int) -> np.ndarray:
    return np.memmap(path, dtype=dtype, mode="r", shape=(count,)) if count > 0 else np.empty(0, dtype=dtype)


def update_count(units: int, epochs: float, batch_size: int) -> int:
    """Updates of the whole run; at least one, the last one may be smaller than the rest."""
    return max(1, math.ceil(_draws(units, epochs) / batch_size))


def update_units(seed: int, units: int, epochs: float, batch_size: int, update: int) -> np.ndarray:
    """Unit numbers of one update (0-based), (<= batch_size,). Each epoch is a permutation of its own seed.

    A pure function of its arguments: the data cursor of a checkpoint is the number of its update.
    """
    first = update * batch_size
    last = min(first + batch_size, _draws(units, epochs))
    parts = []
    for epoch in range(first // units, (last - 1) // units + 1):
        order = _epoch_order(seed, units, epoch)
        parts.append(order[max(0, first - epoch * units) : last - epoch * units])
    return np.concatenate(parts)


@lru_cache(maxsize=2)
def _epoch_order(seed: int, units: int, epoch: int) -> np.ndarray:
    """A permutation, (units,). Kept, since every update of an epoch cuts its piece out of the same one."""
    order = np.random.default_rng([seed, epoch]).permutation(units)
    order.flags.writeable = False
    return order


def _draws(units: int, epochs: float) -> int:
    # Without the small term, 0.1 epochs of 30 units would be 4 units: 0.1 * 30 is a little more than 3.
    return max(1, math.ceil(epochs * units - 1e-9))


def group_units(units: Sequence[Sequence[int]], lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Positions in `units`, grouped by length so that a group's rectangle holds at most `limit` tokens.

    units: rows of each unit (equally many); lengths: tokens by row. A unit longer than `limit` is a group by itself.
    """
    width = [max(int(lengths[row]) for row in unit) for unit in units]
    groups: list[list[int]] = []
    for position in sorted(range(len(units)), key=lambda at: (width[at], at)):
        if groups and (len(groups[-1]) + 1) * len(units[position]) * width[position] <= limit:
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups


def cut_rectangles(lengths: Sequence[int], call_tokens: int = CALL_TOKENS) -> list[list[int]]:
    """Positions of rows, in rectangles; least padded tokens plus `call_tokens` for each rectangle.

    Dynamic programming over the rows sorted by length: optimal, and exact for any number of rectangles.
    """
    order = sorted(range(len(lengths)), key=lambda at: (lengths[at], at))
    best = [0] + [0] * len(order)
    start = [0] * (len(order) + 1)
    for end in range(1, len(order) + 1):
        longest = int(lengths[order[end - 1]])
        best[end], start[end] = min(
            (best[first] + (end - first) * longest + call_tokens, first) for first in range(end)
        )
    rectangles = []
    end = len(order)
    while end > 0:
        rectangles.append(order[start[end] : end])
        end = start[end]
    return rectangles[::-1]


def pad_rows(
    rows: Sequence[tuple[np.ndarray, np.ndarray]], pad_id: int, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """(B, T) token ids int64, attention mask bool, trained mask bool; T is the longest row, padding on the right."""
    longest = max(len(tokens) for tokens, _ in rows)
    input_ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    attention = np.zeros((len(rows), longest), dtype=bool)
    trained = np.zeros((len(rows), longest), dtype=bool)
    for at, (tokens, mask) in enumerate(rows):
        input_ids[at, : len(tokens)] = tokens
        attention[at, : len(tokens)] = True
        trained[at, : len(tokens)] = mask
    return tuple(torch.from_numpy(array).to(device, non_blocking=True) for array in (input_ids, attention, trained))


def swap_last_turn(
    row: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], cutoff: int
) -> tuple[np.ndarray, np.ndarray]:
    """The row with its last trained turn replaced by the other's: the KL sequence of KTO (spec §6.4, §9.2).

    All its turns stay trained, as in the authors' fork; with one assistant turn this is TRL's mismatched pair. Cut at
    `cutoff` tokens. Both rows have a trained token.
    """
    (tokens, trained), (other_tokens, other_trained) = row, other
    at, (other_start, other_end) = last_turn(trained)[0], last_turn(other_trained)
    turn = other_tokens[other_start:other_end]
    swapped = np.concatenate([tokens[:at], turn])[:cutoff]
    mask = np.concatenate([trained[:at], np.ones(len(turn), dtype=np.uint8)])[:cutoff]
    return swapped, mask


def last_turn(trained: np.ndarray) -> tuple[int, int]:
    """Bounds of the last reply of a row with a trained token, the last run of trained ones: first, past the last."""
    last = int(np.flatnonzero(trained)[-1])
    gaps = np.flatnonzero(trained[:last] == 0)
    return (int(gaps[-1]) + 1 if len(gaps) else 0), last + 1
