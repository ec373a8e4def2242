"""The store's schema, step by step: numbered scripts for each file, run by peewee's own migration runner.

A change of a model comes with a new script; a script that was released is never changed. By hand:
`pwmigrate FOLDER/pyros.db status -d pyros/store/migrations/main`, and `diff pyros.store.models:MAIN_MODELS`.
"""

from __future__ import annotations

from pathlib import Path

from playhouse.migrations import Runner

from pyros.store.database import Reader, Store, StoreError

_HERE = Path(__file__).parent


def migrate(store: Store) -> list[str]:
    """Bring both files to this version's schema and return the names of the steps taken; none when up to date.

    Raises
    ------
    StoreError
        If a file knows steps that this version does not: it was written by a newer one.
    """
    taken: list[str] = []
    for name, runner in _runners(store):
        newer = [step.name for step in runner.status() if step.path is None]
        if newer:
            raise StoreError(
                f"{name} was written by a newer version (it knows {newer[-1]}); use that version or a backup"
            )
        taken += [f"{name} {step}" for step in runner.up()]
    return taken


def pending(store: Reader) -> list[str]:
    """Return the names of the steps that `migrate` would take."""
    return [f"{name} {step.name}" for name, runner in _runners(store) for step in runner.status() if not step.applied]


def _runners(store: Reader) -> list[tuple[str, Runner]]:
    return [
        ("pyros.db", Runner(store.main, str(_HERE / "main"))),
        ("telemetry.db", Runner(store.telemetry, str(_HERE / "telemetry"))),
    ]
