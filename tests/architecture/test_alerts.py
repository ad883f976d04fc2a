"""The alerts fire when they are to and stay quiet otherwise, and somebody says what to do then."""

import re
import shutil
import subprocess
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
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": list(promtool_tests())}))

    said = subprocess.run(
        ["promtool", "test", "rules", rules], capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stdout + said.stderr


def promtool_tests() -> Any:
    for name, case in CASES.items():
        for what, series, firing in (
            ("fires", case.fires, case.alerts),
            ("is quiet", case.quiet, 0),
        ):
            expr = f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)'
            expected = [{"labels": "{}", "value": firing}]
            yield {
                "name": f"{name} {what}",
                "interval": "1m",
                "input_series": [
                    {"series": one, "values": values} for one, values in series.items()
                ],
                "promql_expr_test": [
                    {"expr": expr, "eval_time": f"{case.minutes}m", "exp_samples": expected}
                ],
            }
