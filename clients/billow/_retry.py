"""When to try again: the wait before an attempt and the budget that bounds all retries of a client. Pure."""

from collections.abc import Callable

from ._config import RetryPolicy


def backoff_s(policy: RetryPolicy, *, attempt: int, retry_delay_ms: int, random: Callable[[], float]) -> float:
    """The wait in seconds after failed attempt number ``attempt`` (1 for the first).

    Full jitter below the exponential bound; ``retry_delay_ms``, what the server asked for, is waited in full on top.
    ``random`` gives evenly spread numbers from 0 to 1.
    """
    bound_ms: int = min(policy.backoff_max_ms, policy.backoff_first_ms * 2 ** min(attempt - 1, 30))
    wait_s: float = (retry_delay_ms + bound_ms * random()) / 1_000
    return wait_s


class RetryBudget:
    """Tokens that failures take and successes give back; retries stop while half or more are gone."""

    __slots__ = ("_refill", "_threshold", "_tokens", "_tokens_max")

    def __init__(self, policy: RetryPolicy) -> None:
        self._tokens_max = float(policy.budget_tokens)
        self._tokens = self._tokens_max
        self._threshold = self._tokens_max / 2
        self._refill = policy.budget_refill

    def succeeded(self) -> None:
        """A call went through."""
        self._tokens = min(self._tokens_max, self._tokens + self._refill)

    def failed(self) -> bool:
        """An attempt failed; True when a retry may follow."""
        self._tokens = max(0.0, self._tokens - 1.0)
        return self._tokens > self._threshold
