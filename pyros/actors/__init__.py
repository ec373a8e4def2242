"""The actors, one module or package per subsystem; tree.py has their order."""
