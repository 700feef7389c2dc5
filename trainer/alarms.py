"""What a preference run should be told while it runs: logits that saturate, entropy that collapses.

Both look at means over windows of WINDOW updates (fewer where the run is shorter). They change nothing.
Not covered: losses that are not finite, which end the run (loop.py).
"""

from __future__ import annotations

from collections import deque

WINDOW = 20
SATURATED_SHARE = 0.2
COLLAPSED_SHARE = 0.5


class Alarms:
    """Fed each update's metrics in order; answers with what is to be warned of."""

    def __init__(self, updates: int, alpha: float, beta: float) -> None:
        size = min(WINDOW, updates)
        self._alpha, self._beta = alpha, beta
        self._saturated: deque[float] = deque(maxlen=size)
        self._entropy: deque[float] = deque(maxlen=size)
        self._first_entropy: float | None = None
        self._collapse_told = False

    def see(self, metrics: dict) -> list[dict]:
        """Fields of a warning event each; a window is warned of once."""
        return [warning for warning in (self._saturation(metrics), self._collapse(metrics)) if warning is not None]

    def _saturation(self, metrics: dict) -> dict | None:
        self._saturated.append(metrics["saturated"])
        share = sum(self._saturated) / len(self._saturated)
        if len(self._saturated) < self._saturated.maxlen or share <= SATURATED_SHARE:
            return None
        count = len(self._saturated)
        self._saturated.clear()
        remedy = "lower the learning rate or beta, or train for fewer epochs"
        if self._alpha != self._beta:
            remedy = (
                f"alpha/beta is {self._alpha / self._beta:.3g}, and lengths alone move a logit by (alpha - beta) times "
                f"the difference of log-probabilities: lower entropyRatio, or beta with it; else {remedy}"
            )
        said = f"{share:.0%} of the logits of the last {count} updates are beyond ±5, where almost nothing is learned"
        return {"saturated": share, "message": f"{said}; {remedy}"}

    def _collapse(self, metrics: dict) -> dict | None:
        self._entropy.append(metrics["entropy"])
        if len(self._entropy) < self._entropy.maxlen or self._collapse_told:
            return None
        mean = sum(self._entropy) / len(self._entropy)
        if self._first_entropy is None:
            self._first_entropy = mean
        if mean >= COLLAPSED_SHARE * self._first_entropy:
            return None
        self._collapse_told = True
        message = (
            f"entropy fell from {self._first_entropy:.3g} to {mean:.3g} nats per trained token: the policy writes "
            "ever the same; raise entropyRatio, or lower the learning rate or the epochs"
        )
        return {"entropy": mean, "message": message}
