"""The one error type that a command turns into a single line and exit status 2."""


class UserError(ValueError):
    """A mistake in what the user gave: the message names the file (or flag), the value and the rule."""
