"""The dashboards are as the code makes them, and ask for what there is."""

import re

import pytest

from ops.dashboards import ALL, FOLDER, Panel, files
from ops.metrics_reference import definitions

PANELS = [panel for dashboard in ALL for panel in dashboard.panels]
KNOWN = {one.name: set(one.labels) for one in definitions()}
ADDED_BY_PROMETHEUS = {"instance", "job"}


def test_the_files_are_as_the_code_makes_them() -> None:
    made = dict(files())

    assert {path: path.read_text() for path in FOLDER.glob("*.json")} == made, "run `make docs`"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_asks_for_metrics_and_labels_that_exist(panel: Panel) -> None:
    for legend, expr in panel.lines.items():
        named = re.findall(r"\b(kv_erp_\w+?)(?:_bucket|_sum|_count)?\b(?:\{(.*?)\})?", expr)
        assert named or "process_" in expr
        offered = set(ADDED_BY_PROMETHEUS) | {"le"}
        for name, matchers in named:
            assert name in KNOWN, expr
            assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= KNOWN[name], expr
            offered |= KNOWN[name]
        groups = re.findall(r"by \((.*?)\)", expr)
        by = {word.strip() for group in groups for word in group.split(",")}
        shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
        assert by | shown <= offered, expr
        # What a line is called by has to be left of it.
        assert not by or shown <= by, expr
