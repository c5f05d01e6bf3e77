"""How large a model's batches may be, as its device's memory has shown. No torch."""

import structlog

_UNBOUNDED = 2**31
# A lack that lasts a moment, as while another model is tried, must not leave a GPU with batches that don't fill it.
_LEAST_TOKENS = 2048

_log = structlog.get_logger("engine")


class BatchRoom:
    """The most tokens that a batch should hold, so that it needn't be split; whichever threads score may note it."""

    def __init__(self) -> None:
        self.most_tokens = _UNBOUNDED
        self._told = False

    def note_split(self, tokens: int, fitted: int) -> None:
        """Note that a batch of so many tokens didn't fit, and a part of it of `fitted` tokens at most did."""
        if fitted:
            self.most_tokens = min(self.most_tokens, max(fitted, _LEAST_TOKENS))
        if not self._told:
            self._told = True
            _log.warning(
                "a batch was split: the device has no memory for it, and further ones are smaller",
                tokens=tokens,
                fitted=fitted,
                most_tokens=self.most_tokens,
            )
