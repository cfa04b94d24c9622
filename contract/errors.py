"""The one error type that a command turns into a single line and exit status 2."""

ANEW = "--force (make: FORCE=1)"  # in messages: what replaces what is there


class UserError(ValueError):
    """A mistake in what the user gave: the message names the file (or flag), the value and the rule."""
