"""`python -m export`: see `--help`."""

from contract.command import run_command

if __name__ == "__main__":
    run_command("export.cli")
