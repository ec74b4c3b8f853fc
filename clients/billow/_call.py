"""The one place where RPCs are made: deadlines, metadata, errors, and retries where they are safe."""

import asyncio
import enum
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Protocol, TypeVar

from grpc import StatusCode, aio

from ._config import RetryPolicy, Target
from ._error_reading import error_of_call
from ._errors import BillowError, DeadlineExceeded, InternalError, Unavailable
from ._retry import RetryBudget, backoff_s

Request = TypeVar("Request")
Response = TypeVar("Response")
Item = TypeVar("Item")

_REFUSED_BEFORE_WORK = frozenset({"OVERLOADED", "QUOTA_EXCEEDED", "SHUTTING_DOWN"})


class Safety(enum.Enum):
    """What a repeat of a call can do."""

    REPEATABLE = enum.auto()
    """Nothing: reads, verification, and issuing, because its request id makes it happen once."""
    ONCE = enum.auto()
    """It could be done twice: repeated only where the server says that it refused before any work."""


class PageAnswer(Protocol):
    """One page of a listing."""

    @property
    def next_page_token(self) -> str:
        """Empty on the last page."""


Page = TypeVar("Page", bound=PageAnswer)


class UnaryMethod(Protocol[Request, Response]):
    """A unary RPC of a generated stub or of a channel."""

    def __call__(
        self, request: Request, /, *, timeout: float | None = None, metadata: aio.Metadata | None = None
    ) -> aio.UnaryUnaryCall[Request, Response]:
        """Starts the call."""


class Caller:
    """Makes the RPCs of one client. Belongs to one event loop."""

    def __init__(
        self,
        *,
        target: Target,
        policy: RetryPolicy,
        random: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self.metadata = aio.Metadata()
        if target.api_key is not None:
            self.metadata.add("authorization", f"Bearer {target.api_key}")
        self._budget = RetryBudget(policy)
        self._stream_budget = RetryBudget(policy)
        self._random = random
        self._clock = clock

    async def unary(
        self,
        method: UnaryMethod[Request, Response],
        request: Request,
        *,
        timeout_s: float,
        safety: Safety = Safety.REPEATABLE,
    ) -> Response:
        """Calls ``method`` until it answers, is refused for good, or ``timeout_s`` seconds (all attempts) are over.

        Raises BillowError. When time runs out between two attempts, the error of the last one is raised: it says more
        than "time ran out". Cancelling it cancels the RPC.
        """
        ends_at = self._clock() + timeout_s
        attempt = 0
        while True:
            attempt += 1
            left_s = ends_at - self._clock()
            try:
                response = await method(request, timeout=max(left_s, 0.001), metadata=self.metadata)
            except aio.AioRpcError as failure:
                error = error_of_rpc(failure)
            except aio.UsageError as failure:
                raise closed_error() from failure
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise closed_error() from None  # the channel was closed under the call
            else:
                self._budget.succeeded()
                return response
            wait_s = self._wait_before_retry_s(error, attempt=attempt, safety=safety)
            if wait_s is None:
                raise error
            if self._clock() + wait_s >= ends_at:
                error.not_retried = "time"
                raise error
            await asyncio.sleep(wait_s)

    async def pages(
        self,
        method: UnaryMethod[Any, Page],
        request: Any,
        pick: Callable[[Page], Iterable[Item]],
        *,
        timeout_s: float,
    ) -> AsyncIterator[Item]:
        """Yields what ``pick`` takes from each page of a listing; ``timeout_s`` is for each page."""
        while True:
            page = await self.unary(method, request, timeout_s=timeout_s)
            for item in pick(page):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _wait_before_retry_s(self, error: BillowError, *, attempt: int, safety: Safety) -> float | None:
        if not error.retryable:
            return None
        within_budget = self._budget.failed()
        if safety is Safety.ONCE and error.reason not in _REFUSED_BEFORE_WORK:
            return None
        if attempt >= self.policy.attempts_max:
            error.not_retried = "attempts"
        elif not within_budget:
            error.not_retried = "budget"
        if error.not_retried:
            return None
        return self.backoff_s(attempt=attempt, retry_delay_ms=error.retry_delay_ms)

    def stream_answered(self) -> None:
        """A message of a stream was answered."""
        self._stream_budget.succeeded()

    def stream_backoff_s(self, *, attempt: int, retry_delay_ms: int) -> float:
        """The wait in seconds before a stream, or a refused batch of it, is tried again.

        With the streams' budget used up the wait is ``backoff_max_ms`` at least: a stream has a place to go on from,
        so it slows down where a call gives up.
        """
        if not self._stream_budget.failed():
            retry_delay_ms = max(retry_delay_ms, self.policy.backoff_max_ms)
        return self.backoff_s(attempt=attempt, retry_delay_ms=retry_delay_ms)

    def backoff_s(self, *, attempt: int, retry_delay_ms: int) -> float:
        """The wait in seconds after failed attempt number ``attempt``."""
        return backoff_s(self.policy, attempt=attempt, retry_delay_ms=retry_delay_ms, random=self._random)


def error_of_rpc(failure: aio.AioRpcError) -> BillowError:
    """What a failed RPC tells, as one of our errors."""
    return error_of_call(failure.code(), failure.details(), failure.trailing_metadata())


def closed_error() -> BillowError:
    """The client was closed while a call was made or waited for."""
    return Unavailable("the client is closed", code=StatusCode.UNAVAILABLE)


def ended_early_error() -> BillowError:
    """A stream ended as if all were done."""
    return Unavailable("the stream ended before its last answer", code=StatusCode.UNAVAILABLE, retryable=True)


def silence_error(answer_s: float) -> BillowError:
    """A stream said nothing for ``answer_s`` seconds though an answer was due."""
    return DeadlineExceeded(f"no answer for {answer_s:g} s", code=StatusCode.DEADLINE_EXCEEDED)


def wrong_answer(what: str) -> BillowError:
    """The server broke the contract."""
    return InternalError(f"the server sent {what}", code=StatusCode.INTERNAL)
