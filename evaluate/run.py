"""`python evaluate/run.py`: scores, pictures and a page of a labelled split, Kaggle CSVs for the unlabelled ones.

The same as `python -m evaluate run`; works from any folder.
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    # Replaced, not extended: this folder on the path would let its modules shadow other packages'.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from contract.command import run_command

    run_command("evaluate.cli", "main_run")
