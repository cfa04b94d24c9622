"""`python -m train`: see `--help`. `python -m train baseline`: the classical baseline beside the networks."""

import sys

from contract.command import run_command

if __name__ == "__main__":
    run_command("train.baseline" if sys.argv[1:2] == ["baseline"] else "train.cli")
