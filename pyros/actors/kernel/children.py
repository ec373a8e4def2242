"""The supervisor's list: who stands where, who needs whom, and who may be started next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyros.actors.kernel.child import Child, ChildSpec
from pyros.messages.system import ActorFailed, ActorStopped


def check_order(specs: Sequence[ChildSpec]) -> None:
    """Refuse a child that needs itself or a later one: it could never be stopped before and started after it.

    Raises
    ------
    ValueError
        With both names.
    """
    names = [spec.name for spec in specs]
    for place, spec in enumerate(specs):
        late = [need for need in spec.needs if need in names[place:]]
        if late:
            raise ValueError(f"{spec.name} needs {', '.join(late)}, which must stand earlier in the child specs")


def dependants_of(specs: Sequence[ChildSpec], name: str) -> list[str]:
    """Return who needs `name`, directly or through another, in the order of the list."""
    gone = [name]
    for spec in specs:
        if any(need in gone for need in spec.needs):
            gone.append(spec.name)
    return gone[1:]


class Children:
    """Every child, in the order of the start."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._by_name = {child.name: child for child in children}

    def __iter__(self) -> Iterator[Child]:
        return iter(self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Child | None:
        """Return the child of this name, or None."""
        return self._by_name.get(name)

    def who_ended(self, message: ActorFailed | ActorStopped) -> Child | None:
        """Return the child whose present incarnation ended; what older ones report is past."""
        child = self.get(message.actor)
        if child is None or child.epoch != message.epoch or not (child.ending or child.status in {"up", "starting"}):
            return None
        return child

    def dependants_of(self, failed: Child) -> list[Child]:
        """Return those that need the failed one, in order."""
        return [self._by_name[name] for name in dependants_of([child.spec for child in self], failed.name)]

    def next_to_start(self) -> Child | None:
        """Return the first that waits and may be started; None while another one is starting."""
        if any(child.status == "starting" for child in self):
            return None
        return next((child for child in self if self._may_start(child)), None)

    def _may_start(self, child: Child) -> bool:
        if child.status != "waiting" or child.ending:
            return False
        return all(self._by_name[name].status == "up" for name in child.held_by)
