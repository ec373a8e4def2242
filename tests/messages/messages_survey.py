"""Who sends and who takes each message, read from the source of `pyros/actors` without importing it.

`python tests/messages/messages_survey.py` writes the table of docs/messages.md anew; a test compares the two.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from pyros.messages import REGISTRY

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "messages.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
NAMES = {
    "VtpListener": "listener",
    "PlcWeather": "weather",
    "BrakeActor": "brake",
    "PlcActor": "plc",
    "Actor": "every actor",
    "DeviceActor": "every device",
}
GOOD_REPLIES = {"SubmitRequest": "Submitted"}
"""What a deferred answer is, where neither the message's docstring nor its handler's annotation says it."""
SAFER = " ⛑"
MESSAGES = {
    name: message
    for name, message in REGISTRY.items()
    if message.__module__.startswith("pyros.messages") and not message.__subclasses__()
}


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


HANDLERS = {f"on_{snake(name)}": name for name in MESSAGES}
HOOKS = {"on_start", "on_stop", "on_failure", "on_receive"}


class Survey:
    """What one reading of the source found: message name -> actors, in the order of their files."""

    def __init__(self):
        self.takes, self.sends = defaultdict(dict), defaultdict(dict)
        self.replies, self.stray = defaultdict(dict), []
        self.handlers, self.bases = {}, {}
        for path in sorted((ROOT / "pyros" / "actors").rglob("*.py")):
            self._read(ast.parse(path.read_text()), path)
        for name in list(self.handlers):
            if self._is_actor(name) and not self._is_abstract(name):
                for handler, node in self._all_handlers(name).items():
                    self._note_handler(name, handler, node)

    def _read(self, module, path):
        classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
        for node in classes:
            self.bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
            functions = [item for item in node.body if isinstance(item, ast.FunctionDef)]
            named = {f.name: f for f in functions}
            for item in node.body:  # on_pause = on_resume = _obey
                if isinstance(item, ast.Assign) and isinstance(item.value, ast.Name) and item.value.id in named:
                    function = named[item.value.id]
                    named |= {target.id: function for target in item.targets if isinstance(target, ast.Name)}
            self.handlers[node.name] = {name: function for name, function in named.items() if name in HANDLERS}
            if "Actor" in self.bases[node.name] or "DeviceActor" in self.bases[node.name]:
                self.stray += [
                    f"{path.name}: {f.name}"
                    for f in functions
                    if f.name.startswith("on_") and f.name not in HANDLERS and f.name not in HOOKS
                ]
        speakers = [name for name in (node.name for node in classes) if self._is_actor(name)]
        speaker = None
        if path.parent.name == "kernel":
            speaker = "supervisor" if path.stem in {"supervisor", "ending"} else "kernel"
        speaker = speaker or (label(speakers[-1]) if speakers else path.parent.name)
        imports = (node for node in ast.walk(module) if isinstance(node, ast.ImportFrom))
        known = {
            alias.name for node in imports if (node.module or "").startswith("pyros.messages") for alias in node.names
        } & set(MESSAGES)
        for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
            self._note_call(call, speaker, known)

    def _note_call(self, call, speaker, known):
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in known:
            self.sends[name][speaker] = None
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if method in {"latest", "subscribe"}:
            for argument in call.args:
                if isinstance(argument, ast.Name) and argument.id in known:
                    self.takes[argument.id][speaker] = None

    def _note_handler(self, name, handler, node):
        message = HANDLERS[handler]
        self.takes[message][label(name)] = None
        for part in ast.walk(node.returns) if node.returns else ():
            if (
                isinstance(part, ast.Name)
                and part.id in MESSAGES
                and MESSAGES[part.id].kind in {"reply", "state", "event"}
            ):
                self.replies[message][part.id] = None

    def _is_actor(self, name):
        return name == "Actor" or any(self._is_actor(base) for base in self.bases.get(name, ()))

    def _is_abstract(self, name):
        return name != "Actor" and any(name in bases for bases in self.bases.values())

    def _all_handlers(self, name):
        found = {}
        for base in self.bases.get(name, ()):
            if base != "Actor":
                found |= self._all_handlers(base)
        return found | self.handlers.get(name, {})


def label(name):
    return NAMES.get(name) or snake(name)


def table():
    """Return the table of all messages that travel, as Markdown."""
    survey = Survey()
    lines = ["| message | kind | from | to | reply | budget |", "| --- | --- | --- | --- | --- | --- |"]
    for kind in ("command", "query", "event", "state", "reply"):
        names = sorted(name for name, message in MESSAGES.items() if message.kind == kind)
        lines += [_row(name, kind, survey) for name in names]
    return "\n".join(lines)


def _row(name, kind, survey):
    message, asked = MESSAGES[name], kind in {"command", "query"}
    senders, takers = list(survey.sends[name]), list(survey.takes[name])
    if kind == "reply":
        takers = ["who asked"]
        if name == "Done":
            senders = ["every actor"]
        asks = [ask for ask, other in MESSAGES.items() if other.kind in {"command", "query"}]
        senders = senders or [t for ask in asks if f"`{name}`" in _replies(ask, survey) for t in survey.takes[ask]]
    safer = SAFER if getattr(message, "makes_safer", False) else ""
    cells = (
        f"`{name}`{safer}",
        kind,
        ", ".join(senders) or ("people" if asked else "—"),
        ", ".join(takers) or "whoever looks",
        _replies(name, survey) if asked else "",
        f"{message.budget_s:g} s" if asked else "",
    )
    return "| " + " | ".join(cells) + " |"


def _replies(name, survey):
    if name == "GetState":
        return "`<Actor>State`"
    told = re.findall(r"[Aa]nswered[^.]*", MESSAGES[name].__doc__ or "")
    found = {word: None for part in told for word in re.findall(r"`(\w+)`", part) if _answers(word)}
    found |= {other: None for other, m in MESSAGES.items() if f"reply to `{name}`" in (m.__doc__ or "")}
    found |= survey.replies[name]
    good = [reply for reply in found if reply not in {"Refused", "Failed"}] or [GOOD_REPLIES.get(name, "Done")]
    return ", ".join(f"`{reply}`" for reply in (*good, *(reply for reply in found if reply not in good)))


def _answers(word):
    return word in MESSAGES and (MESSAGES[word].kind == "reply" or word == "ScheduleMade")


def written(page):
    """Return the table that stands in the page."""
    return page.split(BEGIN)[1].split(END)[0].strip()


if __name__ == "__main__":
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}")
