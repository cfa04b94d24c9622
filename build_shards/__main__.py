"""`python -m build_shards`: see `--help`."""

from contract.command import run_command

if __name__ == "__main__":
    run_command("build_shards.cli")
