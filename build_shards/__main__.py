"""`python -m build_shards`: see `--help`."""

from build_shards.torchless import import_webdataset
from contract.command import run_command

if __name__ == "__main__":
    import_webdataset()
    run_command("build_shards.cli")
