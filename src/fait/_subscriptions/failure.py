"""Delays before a failed operation is retried: exponential back-off with jitter."""

from msgspec import Struct

__all__ = ["Retry"]


class Retry(Struct, frozen=True):
    """The back-off of a reactor: the delay before it handles a failed event again.

    The upper bound of the delay doubles with each consecutive failure. The delay is chosen at random between half of
    the bound and the bound.

    Attributes:
        initial_s: maximum delay after the first failure, in seconds.
        max_s: maximum delay after any number of failures, in seconds.
    """

    initial_s: float = 0.1
    max_s: float = 30.0

    def delay_s(self, failures: int) -> float:
        """Return a random delay in seconds.

        Args:
            failures: number of consecutive failures, at least 1.
        """
        import random  # slow to import, and only needed after a failure

        bound = min(self.max_s, self.initial_s * 2 ** min(failures - 1, 32))
        return random.uniform(bound / 2, bound)  # noqa: S311 - not a secret
