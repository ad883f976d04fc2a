"""The alerts fire when they are to and stay quiet otherwise, and somebody says what to do then."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_cases import CASES

from ops.metrics_reference import definitions

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "helm" / "kv-erp" / "files" / "alerts.yaml"
RUNBOOKS = ROOT / "docs" / "operations.md"
# Told by others than our processes: Prometheus itself, its client library, cert-manager, and what
# a backup leaves for the node exporter.
FOREIGN = {
    "up",
    "process_start_time_seconds",
    "certmanager_certificate_expiration_timestamp_seconds",
    "kv_erp_backup_last_success_timestamp_seconds",
    "kv_erp_backup_last_copy_timestamp_seconds",
}
# Prometheus adds these to whatever it scrapes.
ADDED = {"job", "instance"}


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


NAMES = [alert["alert"] for alert in alerts()]


def test_each_alert_has_its_cases_and_its_runbook() -> None:
    sections = re.findall(r"^### (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)

    assert sorted(NAMES) == sorted(CASES)
    assert sorted(NAMES) == sorted(sections)
    for alert in alerts():
        assert alert["annotations"]["runbook_url"] == f"docs/operations.md#{alert['alert'].lower()}"
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"]["summary"]


@pytest.mark.parametrize("alert", alerts(), ids=NAMES)
def test_an_alert_asks_for_what_there_is(alert: dict[str, Any]) -> None:
    known = {one.name: set(one.labels) for one in definitions()}

    for name, matchers in re.findall(r"\b((?:kv_erp|process)_\w+)(?:\{(.*?)\})?", alert["expr"]):
        if name in FOREIGN:
            continue
        base = name if name in known else re.sub(r"_(bucket|sum|count)$", "", name)
        assert base in known, f"{name} is not a metric"
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert asked <= known[base], f"{name} has no such label"


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)
def test_each_alert_fires_when_it_is_to_and_only_then(tmp_path: Path) -> None:
    # Each alone: some take days of minutes, through which the others need not be asked.
    cases = []
    for alert in alerts():
        name = alert["alert"]
        rule = write(tmp_path / f"{name}.rule.yaml", {"groups": [{"name": name, "rules": [alert]}]})
        tests = {"rule_files": [str(rule)], "tests": list(promtool_tests(name))}
        cases.append(write(tmp_path / f"{name}.yaml", tests))

    said = subprocess.run(
        ["promtool", "test", "rules", *cases], capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stdout + said.stderr


def write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def promtool_tests(name: str) -> Iterator[dict[str, Any]]:
    """The alert with what makes it fire, and with what does not."""
    case = CASES[name]
    expr = f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)'
    for what, series, firing in (("fires", case.fires, case.alerts), ("is quiet", case.quiet, 0)):
        expected = [{"labels": "{}", "value": firing}]
        yield {
            "name": f"{name} {what}",
            "interval": "1m",
            "input_series": [{"series": one, "values": values} for one, values in series.items()],
            "promql_expr_test": [
                {"expr": expr, "eval_time": f"{case.minutes}m", "exp_samples": expected}
            ],
        }
