"""`pyros`, also as `python -m pyros`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from pyros.cli import pyros

    pyros(prog_name="pyros")


if __name__ == "__main__":
    main()
