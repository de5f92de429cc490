"""Run the command line as `python -m imdswatch`."""

from imdswatch.cli import run

if __name__ == "__main__":
    run()
