"""What one update minimises, by method: from rows to the loss of a group, its figures, and the row of metrics.jsonl.

The loss is normalised over the whole update before it is taken apart into groups, so accumulating groups equals one
large batch: SFT divides by the update's trained tokens, preference methods by its units. A KTO baseline that averages
over the update is computed first, without gradient, where the update has more than one group.

Not covered: formulas (losses.py), log-probabilities (logps.py), the loop (loop.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainer.batches import cut_rectangles, pad_rows, swap_last_turn
from trainer.data import TrainData
from trainer.logps import token_scores
from trainer.losses import (
    alpha_of,
    class_weights,
    entropo_dpo_loss,
    entropo_kto_loss,
    kto_baseline,
    upstream_compat_kto_loss,
)
from trainer.program import BadInput
from trainer.world import World

SATURATED_LOGIT = 5.0
Row = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class RowScores:
    """Sums over the trained tokens of each row, (n,) float64, nats. Only `logp` carries a gradient."""

    logp: Tensor
    entropy: Tensor | None
    cross_entropy: Tensor | None


class Scorer:
    """Scores rows of any lengths with one model, in rectangles."""

    def __init__(
        self, model: nn.Module, reference: nn.Module | None, pad_id: int, device: torch.device, autocast: bool
    ) -> None:
        self.model = model
        self.reference = reference
        """The reference model; the model itself where its adapter can be switched off; None where it is not needed."""
        self._pad_id = pad_id
        self._device = device
        self._autocast = autocast

    def score(self, rows: Sequence[Row], *, with_entropy: bool = False, with_reference: bool = False) -> RowScores:
        """Scores under the policy; `with_reference` adds the cross-entropy to the reference."""
        return self._score(self.model, rows, with_entropy, self.reference if with_reference else None)

    @torch.no_grad()
    def reference_logps(self, rows: Sequence[Row]) -> Tensor:
        """(n,) log-probabilities under the reference."""
        adapter_off = self.reference.disable_adapter() if self.reference is self.model else nullcontext()
        with adapter_off:
            return self._score(self.reference, rows, False, None).logp

    def _score(
        self, model: nn.Module, rows: Sequence[Row], with_entropy: bool, reference: nn.Module | None
    ) -> RowScores:
        rectangles = cut_rectangles([len(tokens) for tokens, _ in rows])
        parts: list[list[Tensor]] = [[], [], []]
        for rectangle in rectangles:
            ids, attention, trained = pad_rows([rows[at] for at in rectangle], self._pad_id, self._device)
            with self._precision():
                scores = token_scores(
                    model, ids, attention, trained, with_entropy=with_entropy, reference_model=reference
                )
            for part, values in zip(parts, (scores.logps, scores.entropy, scores.cross_entropy), strict=True):
                if values is not None:
                    part.append(values.double().sum(1))
        back = torch.empty(len(rows), dtype=torch.int64)
        back[[at for rectangle in rectangles for at in rectangle]] = torch.arange(len(rows))
        back = back.to(self._device)
        logp, entropy, cross_entropy = (torch.cat(part).index_select(0, back) if part else None for part in parts)
        return RowScores(logp, entropy, cross_entropy)

    def _precision(self) -> AbstractContextManager:
        return torch.autocast(self._device.type, torch.bfloat16) if self._autocast else nullcontext()


class Sft:
    """Mean negative log-probability of a trained token of the update."""

    def __init__(self, data: TrainData, scorer: Scorer):
        self._data = data
        self._scorer = scorer

    def begin(self, drawn: list[int], groups: list[list[int]], world: World) -> None:
        """Counts the update's trained tokens. drawn: its units in their order; groups: the same, grouped."""
        self._tokens = sum(self._data.trained_tokens(unit) for unit in drawn)

    def loss(self, group: list[int]) -> tuple[Tensor, Tensor]:
        """The group's part of the update's loss, (), and its figures: negative log-probability by unit, (n, 1)."""
        scores = self._scorer.score([self._data.row(unit, 0) for unit in group])
        return -scores.logp.sum() / self._tokens, -scores.logp.detach()[:, None]

    def metrics(self, figures: np.ndarray) -> dict:
        return {"loss": float(figures[:, 0].sum() / self._tokens)}


class Dpo:
    """DPO and EntroPO-DPO: mean over the update's pairs, plus `ftx` times the SFT loss of the chosen side by token."""

    def __init__(self, data: TrainData, scorer: Scorer, method: dict):
        self._data = data
        self._scorer = scorer
        self.alpha, self.beta, self._ftx = alpha_of(method), method["beta"], method["ftx"]

    def begin(self, drawn: list[int], groups: list[list[int]], world: World) -> None:
        self._units = len(drawn)

    def loss(self, group: list[int]) -> tuple[Tensor, Tensor]:
        """Figures by pair: loss, logit, chosen and rejected reward, entropy, trained tokens, gap to the reference."""
        count = len(group)
        scores = self._scorer.score(
            [self._data.row(unit, side) for side in (0, 1) for unit in group], with_entropy=True
        )
        device = scores.logp.device
        tokens, reference = (
            torch.tensor([values(unit, side) for side in (0, 1) for unit in group], dtype=torch.float64, device=device)
            for values in (self._data.row_tokens, self._data.row_reference)
        )
        chosen, rejected = scores.logp[:count], scores.logp[count:]
        losses, logit = entropo_dpo_loss(
            chosen, rejected, reference[:count], reference[count:], self.alpha, self.beta
        )
        if self._ftx > 0:
            losses = losses - self._ftx * chosen / tokens[:count]
        logp = scores.logp.detach()
        reward = self.alpha * logp - self.beta * reference
        gap = ((logp - reference).abs() / tokens).view(2, count).amax(0)
        both = [part.view(2, count).sum(0) for part in (scores.entropy, tokens)]
        figures = torch.stack([losses.detach(), logit.detach(), reward[:count], reward[count:], *both, gap], 1)
        return losses.sum() / self._units, figures

    def metrics(self, figures: np.ndarray) -> dict:
        loss, logit, chosen, rejected, entropy, tokens, gap = figures.T
        return {
            **_shared(loss, logit, entropy, tokens, gap),
            "chosenReward": float(chosen.mean()),
            "rejectedReward": float(rejected.mean()),
        }


class Kto:
    """KTO and EntroPO-KTO: mean over the update's trajectories, plus `ftx` times the SFT loss of the desirable ones.

    Trajectories are neighbours in the order in which the update drew them: the KL sequence of each ends with the next
    one's last reply.
    """

    def __init__(self, data: TrainData, scorer: Scorer, method: dict, cutoff: int):
        self._data = data
        self._scorer = scorer
        self._cutoff = cutoff
        self.alpha, self.beta, self._ftx = alpha_of(method), method["beta"], method["ftx"]
        self._upstream = method.get("form") == "upstream-compat"
        self._baseline = "mismatched" if self._upstream else method["baseline"]
        self._clamp = method["clamp"]
        desirable = int(data.desirable.sum())
        counts = (desirable, len(data) - desirable)
        auto = class_weights(*counts, method["undesirableWeight"])
        given = method["desirableWeight"]
        self.weights = auto if given == "auto" else (given, method["undesirableWeight"])
        """Weights of desirable and undesirable trajectories."""

    def begin(self, drawn: list[int], groups: list[list[int]], world: World) -> None:
        self._units = len(drawn)
        self._wanted = int(self._data.desirable[drawn].sum())
        self._whole: dict[str, Tensor] = {}
        mine = world.share(groups)
        with torch.no_grad():
            if self._baseline == "mismatched":
                after = dict(zip(drawn, [*drawn[1:], drawn[0]], strict=True))
                parts = [self._mismatched(group, after) for group in mine]
                self._whole = _gathered(world, ("kl_logps", "ref_kl_logps"), parts)
            elif self._baseline in ("batch", "sampled") and len(groups) > 1:
                parts = [[*self._inputs(self._scores(group), group).values()] for group in mine]
                names = ("entropy", "cross_entropy") if self._baseline == "batch" else ("logps", "ref_logps")
                self._whole = _gathered(world, names, parts)

    def loss(self, group: list[int]) -> tuple[Tensor, Tensor]:
        """Figures by trajectory: loss, logit, entropy, trained tokens, gap, reward, desirable, baseline."""
        scores = self._scores(group)
        device = scores.logp.device
        desirable = torch.from_numpy(self._data.desirable[group]).to(device)
        tokens = self._tensor(group, self._data.row_tokens, device)
        reference = self._tensor(group, self._data.row_reference, device)
        whole = {name: values.to(device) for name, values in self._whole.items()} or self._inputs(scores, group)
        if self._upstream:
            losses, reward = upstream_compat_kto_loss(
                scores.logp, reference, desirable, **whole, alpha=self.alpha, beta=self.beta,
                desirable_weight=self.weights[0], undesirable_weight=self.weights[1],
            )
            baseline = self.beta * kto_baseline("mismatched", self.alpha, self.beta, **whole, clamp=True)
        else:
            baseline = kto_baseline(self._baseline, self.alpha, self.beta, **whole, clamp=self._clamp)
            baseline = baseline.to(device, torch.float64)
            losses, reward = entropo_kto_loss(
                scores.logp, reference, desirable, baseline, self.alpha, self.beta, *self.weights
            )
        total = losses.sum() / self._units
        if self._ftx > 0:
            spoken = torch.where(desirable, -scores.logp / tokens, 0.0)
            losses = losses + self._ftx * spoken * self._units / max(1, self._wanted)
            total = losses.sum() / self._units
        reward = reward.detach()
        logit = torch.where(desirable, reward - baseline, baseline - reward)
        gap = (scores.logp.detach() - reference).abs() / tokens
        columns = [losses.detach(), logit, scores.entropy, tokens, gap, reward, desirable.double()]
        return total, torch.stack([*columns, baseline.expand_as(reward)], 1)

    def metrics(self, figures: np.ndarray) -> dict:
        loss, logit, entropy, tokens, gap, reward, desirable, baseline = figures.T
        return {
            **_shared(loss, logit, entropy, tokens, gap),
            "chosenReward": _mean(reward[desirable == 1]),
            "rejectedReward": _mean(reward[desirable == 0]),
            "baseline": float(baseline.mean()),
        }

    def _scores(self, group: list[int]) -> RowScores:
        rows = [self._data.row(unit, 0) for unit in group]
        return self._scorer.score(rows, with_entropy=True, with_reference=self._baseline in ("exact", "batch"))

    def _inputs(self, scores: RowScores, group: list[int]) -> dict[str, Tensor]:
        """What `kto_baseline` needs of these rows themselves."""
        if self._baseline in ("exact", "batch"):
            return {"entropy": scores.entropy, "cross_entropy": scores.cross_entropy}
        if self._baseline == "sampled":
            reference = self._tensor(group, self._data.row_reference, scores.logp.device)
            return {"logps": scores.logp, "ref_logps": reference}
        return {}

    def _mismatched(self, group: list[int], after: dict[int, int]) -> list[Tensor]:
        rows = [swap_last_turn(self._data.row(unit, 0), self._data.row(after[unit], 0), self._cutoff) for unit in group]
        return [self._scorer.score(rows).logp, self._scorer.reference_logps(rows)]

    @staticmethod
    def _tensor(group: list[int], values, device: torch.device) -> Tensor:
        return torch.tensor([values(unit, 0) for unit in group], dtype=torch.float64, device=device)


def make_objective(method: dict, data: TrainData, scorer: Scorer, cutoff: int) -> Sft | Dpo | Kto:
    """The objective of a method of the configuration."""
    if method["type"] in ("sft", "verifier"):
        return Sft(data, scorer)
    if method["type"] in ("dpo", "entropo-dpo"):
        return Dpo(data, scorer, method)
    return Kto(data, scorer, method, cutoff)


def needs_reference_model(method: dict) -> bool:
    """True where the reference file's sums are not enough: the baseline looks at other tokens or at distributions."""
    upstream = method.get("form") == "upstream-compat"
    return method["type"].endswith("kto") and (upstream or method["baseline"] in ("exact", "batch", "mismatched"))


def check_agreement(gap: float, ids: list[str], tolerance: float) -> None:
    """Refuses a policy that is not the reference before its first update. gap: largest difference, nats per token."""
    if gap > tolerance:
        raise BadInput(
            "ConfigInvalid",
            f"before the first update the model's log-probabilities differ from the reference file by up to {gap:.3g} "
            f"nats per token in the first batch ({', '.join(ids[:3])}, ...), more than {tolerance:g}: policy and "
            "reference are different models. Merge the SFT adapter into the weights before preference training, and "
            "compute the reference with the same model, cutoff and tokenizer",
        )


def _gathered(world: World, names: tuple[str, str], parts: list[list[Tensor]]) -> dict[str, Tensor]:
    columns = [torch.stack(part, 1) for part in parts]
    whole = world.gather(torch.cat(columns) if columns else torch.empty(0, 2, dtype=torch.float64))
    return dict(zip(names, whole.T, strict=True))


def _shared(loss: np.ndarray, logit: np.ndarray, entropy: np.ndarray, tokens: np.ndarray, gap: np.ndarray) -> dict:
    return {
        "loss": float(loss.mean()),
        "margin": float(logit.mean()),
        "saturated": float((np.abs(logit) > SATURATED_LOGIT).mean()),
        "accuracy": float((logit > 0).mean()),
        "entropy": float(entropy.sum() / tokens.sum()),
        "gap": float(gap.max()),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
