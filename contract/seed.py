"""What a seed may be: the same on every command line."""

from contract.errors import UserError

LARGEST_SEED = 2**32 - 1  # scikit-learn takes no larger one, torch none beyond 64 bits


def check_seed(seed: int) -> None:
    """Raise ``UserError`` for a seed that one of the generators would refuse."""
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"--seed {seed}: must be between 0 and {LARGEST_SEED}")
