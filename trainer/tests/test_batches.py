"""Grouping, cutting and ordering of rows: invariants, and values worked out by hand."""

from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.batches import (
    EncodedRows,
    cut_rectangles,
    group_units,
    pad_rows,
    swap_last_turn,
    update_count,
    update_units,
)


def padded(lengths: list[int], rectangles: list[list[int]]) -> int:
    return sum(len(rows) * max(lengths[row] for row in rows) for rows in rectangles)


def row(tokens: list[int], trained: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(tokens, dtype=np.int32), np.array(trained, dtype=np.uint8)


@given(st.lists(st.tuples(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9), st.booleans()), max_size=6))
def test_rows_come_back_from_disk_as_they_were_written(tmp_path_factory, given_rows):
    folder = tmp_path_factory.mktemp("rows")
    rows = [(f"r{at}", tokens, [int(trained)] * len(tokens)) for at, (tokens, trained) in enumerate(given_rows)]
    EncodedRows.write(folder, iter(rows), {"dropped": 2})
    stored = EncodedRows(folder)
    assert [(name, *(part.tolist() for part in stored.row(at))) for at, name in enumerate(stored.ids)] == rows
    assert stored.lengths.tolist() == [len(tokens) for _, tokens, _ in rows]
    assert stored.trained_counts.tolist() == [sum(mask) for _, _, mask in rows]
    assert stored.notes == {"dropped": 2}


def test_a_write_that_was_cut_short_is_not_taken_for_data(tmp_path: Path):
    def rows():
        yield "r0", [1, 2], [0, 1]
        raise OSError("disk full")

    EncodedRows.write(tmp_path, [("old", [1], [1])], {})
    with pytest.raises(OSError):
        EncodedRows.write(tmp_path, rows(), {})
    assert not EncodedRows.written(tmp_path)


@given(st.integers(1, 40), st.floats(0.05, 3.0), st.integers(1, 9), st.integers(0, 5))
def test_updates_walk_through_each_epoch_once(units, epochs, batch_size, seed):
    updates = update_count(units, epochs, batch_size)
    walked = [update_units(seed, units, epochs, batch_size, update).tolist() for update in range(updates)]
    assert all(len(batch) == batch_size for batch in walked[:-1])
    assert 0 < len(walked[-1]) <= batch_size
    flat = [unit for batch in walked for unit in batch]
    assert abs(len(flat) - epochs * units) <= 1
    for epoch in range(0, len(flat), units):
        part = flat[epoch : epoch + units]
        assert len(set(part)) == len(part)


def test_another_seed_is_another_order_and_the_same_seed_the_same():
    first, second, other = (update_units(seed, 50, 1, 50, 0).tolist() for seed in (1, 1, 2))
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    ("units", "epochs", "batch", "updates"), [(30, 0.1, 1, 3), (16, 1, 16, 1), (17, 2, 16, 3), (1, 0.1, 16, 1)]
)
def test_the_number_of_updates_covers_the_epochs(units, epochs, batch, updates):
    assert update_count(units, epochs, batch) == updates


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=20), st.integers(60, 400))
def test_groups_hold_every_pair_once_and_at_most_the_limit(pairs, limit):
    lengths = [length for pair in pairs for length in pair]
    units = [(2 * at, 2 * at + 1) for at in range(len(pairs))]
    groups = group_units(units, lengths, limit)
    assert Counter(unit for group in groups for unit in group) == Counter(range(len(units)))
    for group in groups:
        rows = [row for unit in group for row in units[unit]]
        assert len(group) == 1 or len(rows) * max(lengths[row] for row in rows) <= limit


@given(st.lists(st.integers(1, 30), min_size=1, max_size=7), st.integers(0, 20))
def test_no_other_cut_of_the_sorted_rows_costs_less(lengths, call_tokens):
    rectangles = cut_rectangles(lengths, call_tokens)
    assert Counter(row for rows in rectangles for row in rows) == Counter(range(len(lengths)))
    ordered = sorted(lengths)
    cheapest = min(
        sum((end - start) * ordered[end - 1] + call_tokens for start, end in zip((0, *cuts), (*cuts, len(ordered))))
        for count in range(len(ordered))
        for cuts in combinations(range(1, len(ordered)), count)
    )
    assert padded(lengths, rectangles) + call_tokens * len(rectangles) == cheapest


def test_rows_are_padded_on_the_right_and_padding_is_never_trained():
    ids, attention, trained = pad_rows([row([5, 6], [0, 1]), row([7, 8, 9], [1, 0, 1])], 3, torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 3], [7, 8, 9]]
    assert attention.tolist() == [[True, True, False], [True, True, True]]
    assert trained.tolist() == [[False, True, False], [True, False, True]]


def test_the_last_turn_is_swapped_and_all_turns_stay_trained():
    own = row([1, 2, 3, 4, 5, 6], [0, 1, 0, 1, 1, 0])
    other = row([9, 8, 7, 6], [1, 0, 1, 1])
    tokens, trained = swap_last_turn(own, other, cutoff=100)
    assert tokens.tolist() == [1, 2, 3, 7, 6]
    assert trained.tolist() == [0, 1, 0, 1, 1]
    assert swap_last_turn(own, other, cutoff=4)[0].tolist() == [1, 2, 3, 7]
    assert swap_last_turn(other, row([4, 4], [1, 1]), cutoff=9)[0].tolist() == [9, 8, 4, 4]
