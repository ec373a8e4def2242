"""Keeps docs/capabilities.md: run it to enter, for each capability, the tests whose docstrings name it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "capabilities.md"
ROW = re.compile(r"^\| ([A-Z]{2}-[A-Z0-9]+[a-z]?) \|")
NAME = re.compile(r"\b[A-Z]{2}-[A-Z]{0,2}[0-9]+[a-z]?\b")


def tests_by_capability() -> dict[str, list[str]]:
    """Return, for each ID, `file::test` of every test whose docstring names it."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for name in dict.fromkeys(NAME.findall(ast.get_docstring(node) or "")):
                    found.setdefault(name, []).append(f"{file.relative_to(ROOT / 'tests')}::{node.name}")
    return found


def rendered(page: str) -> str:
    """Return the page with its last column filled in anew."""
    tests = tests_by_capability()
    lines = []
    for line in page.splitlines():
        match = ROW.match(line)
        if match is None:
            lines.append(line)
            continue
        cells = line.strip().strip("|").split(" | ")
        shown = tests.get(match.group(1), [])
        cells[3:] = [f"`{shown[0]}`" + (f" and {len(shown) - 1} more" if len(shown) > 1 else "") if shown else ""]
        lines.append("| " + " | ".join(cell.strip() for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
