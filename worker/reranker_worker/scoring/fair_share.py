"""In which order requests end where all that wait share the device equally. No I/O, no threads."""

from bisect import bisect_right, insort


class FairShare:
    """A device that computes a token of each waiting request in turn: when would a request end there?

    Serving requests whole, in the order in which they would end there, ends none of them later than sharing does, and
    most of them earlier: Friedman and Henderson, "Fairness and efficiency in web server protocols", SIGMETRICS 2003.
    Its clock counts the turns, one token of each request that would still be there.
    """

    def __init__(self) -> None:
        self._turn = 0.0
        self._ends: list[float] = []

    def admit(self, tokens: int) -> float:
        """Return the turn in which a request of so many tokens that comes now would end."""
        end = self._turn + tokens
        insort(self._ends, end)
        return end

    def withdraw(self, end: float, tokens: int, computed: int) -> None:
        """Forget a request of so many tokens whose client is gone, and of which the device has computed so many.

        Sharing had computed a share of it, while the device was at the others: that is theirs, else they would end here
        later than they did, the more the more clients give up.
        """
        shared = tokens - max(0.0, end - self._turn)
        place = bisect_right(self._ends, end) - 1
        if place >= 0 and self._ends[place] == end:
            del self._ends[place]
        self.advance(shared - computed)

    def advance(self, tokens: float) -> None:
        """Let the device compute so many tokens."""
        left = tokens
        while self._ends and left > 0:
            until_next = (self._ends[0] - self._turn) * len(self._ends)
            if until_next > left:
                self._turn += left / len(self._ends)
                return
            left -= until_next
            self._turn = self._ends.pop(0)
