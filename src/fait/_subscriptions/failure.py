"""When something fails it is tried again, after pauses that grow, until it works or somebody repairs it."""

from msgspec import Struct

__all__ = ["Retry"]


class Retry(Struct, frozen=True):
    """How long to pause before trying again.

    Attributes:
        first_s: the longest pause after the first failure.
        longest_s: pauses do not grow beyond it.
    """

    initial_s: float = 0.1
    max_s: float = 30.0

    def delay_s(self, failures: int) -> float:
        """A pause after so many failures: by chance in the upper half of a bound that doubles each time."""
        import random  # slow to import, and needed when something fails

        bound = min(self.max_s, self.initial_s * 2 ** min(failures - 1, 32))
        return random.uniform(bound / 2, bound)  # noqa: S311 - not a secret
