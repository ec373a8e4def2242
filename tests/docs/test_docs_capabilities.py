"""The page of capabilities says which test shows which."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SPEC = importlib.util.spec_from_file_location("capabilities", Path(__file__).with_name("capabilities.py"))
capabilities = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(capabilities)


def test_the_page_names_the_tests_that_show_each_capability():
    page = capabilities.PAGE.read_text(encoding="utf-8")
    assert page == capabilities.rendered(page), "tests have changed: run python tests/docs/capabilities.py"


def test_every_capability_that_a_test_names_is_in_the_table():
    page = capabilities.PAGE.read_text(encoding="utf-8")
    known = {match.group(1) for line in page.splitlines() if (match := capabilities.ROW.match(line))}
    assert set(capabilities.tests_by_capability()) <= known
