"""What a method learns from: encoded rows, the units it draws, labels and reference sums.

SFT and the verifier draw conversations, DPO draws pairs of pairs.jsonl, KTO draws the trajectories of labels.jsonl. The
rows are encoded once, into `out/.work/rows`; a resumed run finds them there. Every row has been checked when this
returns: a run that starts updating does not meet a bad one.

Not covered: rendering and masks (conversations.py), the verifier's split (verifier.py), grouping (batches.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from trainer.batches import EncodedRows, last_turn
from trainer.conversations import Counts, encode_line, read_lines
from trainer.program import BadInput, StopRequest

PAIRED = ("dpo", "entropo-dpo")
UNPAIRED = ("kto", "entropo-kto")


@dataclass(frozen=True)
class TrainData:
    """Rows on disk, and the units over them."""

    rows: EncodedRows
    units: np.ndarray
    """(units, 1) or (units, 2) row numbers; of a pair the chosen row comes first."""
    ids: list[str]
    """By unit, for messages: the conversation's id or the pair's."""
    reference: np.ndarray | None
    """(rows,) float64 log-probability under the reference, nats; None for SFT and the verifier."""
    desirable: np.ndarray | None
    """(units,) bool; KTO only."""
    counts: dict
    """For summary.json: what was read, and what became of it."""

    def __len__(self) -> int:
        return len(self.units)

    def row(self, unit: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        return self.rows.row(int(self.units[unit, side]))

    def row_tokens(self, unit: int, side: int) -> int:
        """Trained tokens of one row."""
        return int(self.rows.trained_counts[self.units[unit, side]])

    def row_reference(self, unit: int, side: int) -> float:
        return float(self.reference[self.units[unit, side]])

    def trained_tokens(self, unit: int) -> int:
        """Trained tokens of all rows of a unit."""
        return int(self.rows.trained_counts[self.units[unit]].sum())

    def tokens(self, unit: int) -> int:
        """Tokens of all rows of a unit."""
        return int(self.rows.lengths[self.units[unit]].sum())


def heldout_ids(spec: dict) -> set[str]:
    """Ids of the rows that the verifier is measured on, never trained; empty for other methods."""
    if spec["method"]["type"] != "verifier":
        return set()
    from trainer.verifier import split_rows

    light = [{name: row.get(name) for name in ("id", "task", "resolved")} for row in _lines(Path(spec["data"]))]
    return {row["id"] for row in split_rows(light, spec["method"]["heldout"], spec["seed"])[1]}


def rows_of(spec: dict, ids: set[str]) -> list[dict]:
    """The rows with these ids, whole, in the file's order."""
    return [row for row in _lines(conversations_file(spec)) if row["id"] in ids]


def encode_data(spec: dict, tokenizer, cutoff: int, stop: StopRequest, aside: set[str]) -> None:
    """Writes `out/.work/rows`, unless an earlier attempt has. Rows with an id in `aside` are left out."""
    folder = rows_folder(spec)
    kind = spec["method"]["type"]
    source = conversations_file(spec)
    asked = [spec["model"], str(source), kind, cutoff, spec["overlong"], spec["method"].get("heldout"), spec["seed"]]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    if EncodedRows.written(folder) and EncodedRows(folder).notes["key"] == key:
        return
    wanted = _wanted(spec)
    notes: dict = {"key": key}

    def encoded() -> Iterator[tuple[str, list[int], list[bool]]]:
        counts, classes = Counts(), {"resolved": 0, "unresolved": 0}
        for number, text in read_lines(source):
            stop.raise_if_asked()
            if wanted is not None or aside:
                row_id = _id(text)
                if row_id in aside or (wanted is not None and row_id not in wanted):
                    continue
            row = encode_line(source, number, text, tokenizer, cutoff, spec["overlong"], counts)
            if row is None:
                continue
            trained = np.asarray(row.encoded.trained, dtype=np.uint8)
            trained[0] = 0  # nothing stands before a first token: it is never scored
            if kind == "verifier":
                classes["resolved" if row.resolved else "unresolved"] += 1
                trained[: last_turn(trained)[0]] = 0
            yield row.id, row.encoded.ids, trained
        notes.update(asdict(counts), setAside=len(aside))
        if kind == "verifier":
            notes["classes"] = classes

    EncodedRows.write(folder, encoded(), notes)


def open_data(spec: dict, cutoff: int) -> TrainData:
    """The encoded rows with their units. DataUnusable where none is left, naming what was filtered."""
    rows = EncodedRows(rows_folder(spec))
    kind = spec["method"]["type"]
    number = {row_id: at for at, row_id in enumerate(rows.ids)}
    desirable = None
    if kind in PAIRED:
        given = list(_lines(Path(spec["data"]) / "pairs.jsonl"))
        kept = [pair for pair in given if pair["chosen"] in number and pair["rejected"] in number]
        units = [(number[pair["chosen"]], number[pair["rejected"]]) for pair in kept]
    elif kind in UNPAIRED:
        given = list(_lines(Path(spec["data"]) / "labels.jsonl"))
        kept = [label for label in given if label["id"] in number]
        units = [(number[label["id"]],) for label in kept]
        desirable = np.asarray([label["desirable"] for label in kept], dtype=bool)
    else:
        kept = given = [{"id": row_id} for row_id in rows.ids]
        units = [(at,) for at in range(len(rows))]
    if not units:
        raise _nothing_left(kind, len(given), rows.notes, cutoff)
    counts = {"rows": len(units), **({"left": len(given) - len(units)} if kind in PAIRED + UNPAIRED else {})}
    counts.update((name, rows.notes[name]) for name in ("dropped", "truncated", "untrained"))
    if "classes" in rows.notes:
        counts["classes"] = rows.notes["classes"]
        _require_both_classes(rows.notes, cutoff)
    ids = [unit["id"] for unit in kept]
    reference = _reference(spec, rows) if kind in PAIRED + UNPAIRED else None
    return TrainData(rows, np.asarray(units, dtype=np.int64), ids, reference, desirable, counts)


def conversations_file(spec: dict) -> Path:
    """Where the conversations of a spec lie: `data` itself, or in the folder of pairs that it names."""
    data = Path(spec["data"])
    return data / "conversations.jsonl" if spec["method"]["type"] in PAIRED + UNPAIRED else data


def rows_folder(spec: dict) -> Path:
    return Path(spec["out"]) / ".work" / "rows"


def _wanted(spec: dict) -> set[str] | None:
    """Ids of the conversations that some unit names; None: all."""
    kind, data = spec["method"]["type"], Path(spec["data"])
    if kind in PAIRED:
        return {pair[side] for pair in _lines(data / "pairs.jsonl") for side in ("chosen", "rejected")}
    if kind in UNPAIRED:
        return {label["id"] for label in _lines(data / "labels.jsonl")}
    return None


def _reference(spec: dict, rows: EncodedRows) -> np.ndarray:
    """(rows,) sums of reference.jsonl; ConfigInvalid where it was made from other tokens."""
    path = Path(spec["reference"])
    number = {row_id: at for at, row_id in enumerate(rows.ids)}
    sums = np.full(len(rows), np.nan)
    remedy = "compute the reference again with this model, cutoff and overlong"
    for line in _lines(path):
        at = number.get(line["id"])
        if at is None:
            continue
        if line["tokens"] != rows.trained_counts[at]:
            counts = f"{line['tokens']} trained tokens there and {rows.trained_counts[at]} here"
            raise BadInput("ConfigInvalid", f"{path}: {line['id']} has {counts}; {remedy}")
        sums[at] = line["logProb"]
    missing = np.flatnonzero(np.isnan(sums))
    if len(missing) > 0:
        first = f"{rows.ids[missing[0]]} ({len(missing)} are missing)"
        raise BadInput("ConfigInvalid", f"{path} has no line for {first}; {remedy}")
    return sums


def _nothing_left(kind: str, given: int, notes: dict, cutoff: int) -> BadInput:
    what = {"pairs.jsonl": PAIRED, "labels.jsonl": UNPAIRED}
    named = (f"{given} in {file}" for file, kinds in what.items() if kind in kinds)
    units = next(named, f"{notes['rows']} conversations")
    return BadInput(
        "DataUnusable",
        f"nothing is left to train {kind} on: {units}; of the conversations read, {notes['dropped']} were longer than "
        f"the cutoff of {cutoff} tokens, {notes['untrained']} had no trained token left after cutting, "
        f"{notes['setAside']} were set aside; raise `cutoff`, set `overlong` to truncate-tail, or collect more "
        "rollouts",
    )


def _require_both_classes(notes: dict, cutoff: int) -> None:
    """All rows of the verifier had both classes (verifier.py); what is left after the cutoff may not."""
    resolved, unresolved = notes["classes"]["resolved"], notes["classes"]["unresolved"]
    if resolved > 0 and unresolved > 0:
        return
    raise BadInput(
        "DataUnusable",
        f"a verifier learns from both kinds of rollouts, and of the rows within the cutoff of {cutoff} tokens "
        f"{resolved} are resolved and {unresolved} not ({notes['dropped']} were longer); raise `cutoff`, or set "
        "`overlong` to truncate-head",
    )


def _lines(path: Path) -> Iterator[dict]:
    for number, text in read_lines(path):
        try:
            yield json.loads(text)
        except ValueError as error:
            message = f"{path}, line {number}: not JSON ({error}); make its stage again"
            raise BadInput("DataUnusable", message) from error


def _id(text: str) -> str | None:
    """The row's id; None where the line is no row: `encode_line` says so."""
    try:
        row = json.loads(text)
    except ValueError:
        return None
    return row.get("id") if isinstance(row, dict) else None
