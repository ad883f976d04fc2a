"""deploy/grafana/: the dashboards, made from the few words of each panel.

`python -m ops.dashboards` writes them anew.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
_WIDTH, _HEIGHT, _PER_ROW = 8, 8, 3
_SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True)
class Panel:
    """One graph: what it shows, in which unit (Grafana's name), and its lines by their legend."""

    title: str
    unit: str
    lines: dict[str, str]


@dataclass(frozen=True)
class Dashboard:
    """One page; `choose` is the label value that its reader picks, by the metric that has it."""

    name: str
    title: str
    panels: Sequence[Panel]
    choose: tuple[str, str] | None = None


def _p(quantile: str, metric: str, by: str = "", where: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    rate = f"rate({metric}_bucket{{{where}}}[5m])"
    return f"histogram_quantile({quantile}, sum by ({labels}) ({rate}))"


_HTTP = "kv_erp_http_request_duration_seconds"
_RPC = "kv_erp_rpc_duration_seconds"
# The feed lasts as long as somebody listens.
_ANSWERED = 'route!="/api/v1/events"'

OVERVIEW = Dashboard(
    "overview",
    "kv-erp: overview",
    (
        Panel(
            "Orders a minute",
            "short",
            {"orders": "60 * max(rate(kv_erp_orders_confirmed_total[5m]))"},
        ),
        Panel(
            "Revenue an hour",
            "short",
            {
                "{{currency}}": "max by (currency) (increase(kv_erp_revenue_total[1h])) - "
                "max by (currency) (increase(kv_erp_revenue_reversed_total[1h]))"
            },
        ),
        Panel(
            "Active tenants",
            "short",
            {"{{window}}": "max by (window) (kv_erp_active_tenants)"},
        ),
        Panel(
            "Requests a second",
            "reqps",
            {"{{status}}": "sum by (status) (rate(kv_erp_http_requests_total[5m]))"},
        ),
        Panel(
            "Time of a request",
            "s",
            {
                "p50": _p("0.5", _HTTP, where=_ANSWERED),
                "p95": _p("0.95", _HTTP, where=_ANSWERED),
                "p99": _p("0.99", _HTTP, where=_ANSWERED),
            },
        ),
        Panel(
            "Share of requests that fail",
            "percentunit",
            {
                "5xx": 'sum(rate(kv_erp_http_requests_total{status=~"5.."}[5m])) / '
                "sum(rate(kv_erp_http_requests_total[5m]))"
            },
        ),
        Panel(
            "What does not answer",
            "short",
            {"{{dependency}} from {{instance}}": "kv_erp_dependency_up == 0"},
        ),
        Panel(
            "Promises that do not hold",
            "short",
            {"{{rule}}": "max by (rule) (kv_erp_invariant_violations)"},
        ),
        Panel(
            "Processes",
            "short",
            {"{{process}}": "count by (process) (kv_erp_process_info)"},
        ),
    ),
)
SERVICE = Dashboard(
    "service",
    "kv-erp: one service",
    (
        Panel(
            "Calls a second",
            "reqps",
            {"{{code}}": 'sum by (code) (rate(kv_erp_rpc_requests_total{service="$chosen"}[5m]))'},
        ),
        Panel(
            "Time of a call, p95",
            "s",
            {"{{method}}": _p("0.95", _RPC, "method", 'service="$chosen"')},
        ),
        Panel(
            "Calls being worked on",
            "short",
            {"running": 'sum(kv_erp_rpc_running{service="$chosen"})'},
        ),
        Panel(
            "Commands that share a transaction",
            "short",
            {
                "{{decide}}": "sum by (decide) (rate(kv_erp_group_commands_sum[5m])) / "
                "sum by (decide) (rate(kv_erp_group_commands_count[5m]))"
            },
        ),
        Panel(
            "Wait of a group, p95",
            "s",
            {"{{decide}}": _p("0.95", "kv_erp_group_wait_seconds", "decide")},
        ),
        Panel(
            "Connections in use",
            "short",
            {
                "{{pool}} at {{instance}}": 'kv_erp_database_connections{state="used"}',
                "limit of {{pool}}": "max by (pool) (kv_erp_database_connections_limit)",
            },
        ),
        Panel(
            "Wait for the database, p95",
            "s",
            {
                "connection": _p("0.95", "kv_erp_database_wait_seconds"),
                "turn": _p("0.95", "kv_erp_database_turn_wait_seconds"),
            },
        ),
        Panel(
            "Errors and retries of the database",
            "ops",
            {
                "{{kind}}": "sum by (kind) (rate(kv_erp_database_errors_total[5m]))",
                "retries": "sum(rate(kv_erp_database_retries_total[5m]))",
            },
        ),
        Panel(
            "Documents an hour",
            "short",
            {
                "{{series}}": "max by (series) "
                '(increase(kv_erp_documents_total{service="$chosen"}[1h]))'
            },
        ),
        Panel(
            "Event loop, p99",
            "s",
            {"{{instance}}": _p("0.99", "kv_erp_event_loop_lag_seconds", "instance")},
        ),
        Panel("CPU", "short", {"{{instance}}": "rate(process_cpu_seconds_total[5m])"}),
        Panel("Memory", "bytes", {"{{instance}}": "process_resident_memory_bytes"}),
    ),
    ("service", "kv_erp_rpc_requests_total"),
)
EVENTS = Dashboard(
    "queues-and-events",
    "kv-erp: queues and events",
    (
        Panel(
            "Events that wait",
            "short",
            {
                "{{service}} {{lane}} from {{source}}": "max by (service, lane, source) "
                "(kv_erp_event_lag_events)"
            },
        ),
        Panel(
            "Oldest event that waits",
            "s",
            {
                "{{service}} {{lane}} from {{source}}": "max by (service, lane, source) "
                "(kv_erp_event_lag_seconds)"
            },
        ),
        Panel(
            "From event to effect, p95",
            "s",
            {
                "{{service}} from {{source}}": _p(
                    "0.95", "kv_erp_event_delay_seconds", "service, source"
                )
            },
        ),
        Panel(
            "Events applied a second",
            "ops",
            {"{{service}}": "sum by (service) (rate(kv_erp_events_applied_total[5m]))"},
        ),
        Panel(
            "Events that failed",
            "ops",
            {
                "{{service}} {{outcome}}": "sum by (service, outcome) "
                "(rate(kv_erp_events_failed_total[5m]))"
            },
        ),
        Panel(
            "Given up",
            "short",
            {"{{service}} {{kind}}": "max by (service, kind) (kv_erp_failed_jobs)"},
        ),
        Panel(
            "Jobs that wait",
            "short",
            {"{{service}} {{queue}}": "max by (service, queue) (kv_erp_queue_waiting)"},
        ),
        Panel(
            "How long the oldest has waited",
            "s",
            {"{{service}} {{queue}}": "max by (service, queue) (kv_erp_queue_oldest_seconds)"},
        ),
        Panel(
            "Jobs done",
            "ops",
            {"{{service}} {{outcome}}": "sum by (service, outcome) (rate(kv_erp_jobs_total[5m]))"},
        ),
        Panel(
            "Time of a job, p95",
            "s",
            {"{{job}}": _p("0.95", "kv_erp_job_duration_seconds", "job")},
        ),
        Panel(
            "Doorbells",
            "ops",
            {
                "{{outcome}}": "sum by (outcome) (rate(kv_erp_doorbell_events_total[5m]))",
                "published, {{outcome}}": "sum by (outcome) "
                "(rate(kv_erp_events_published_total[5m]))",
            },
        ),
        Panel(
            "Time since a duty was done",
            "s",
            {
                "{{service}}: {{duty}}": "time() - max by (service, duty) "
                "(kv_erp_duty_last_done_timestamp_seconds)"
            },
        ),
    ),
)
TENANTS = Dashboard(
    "tenants",
    "kv-erp: tenants",
    (
        Panel(
            "Busiest tenants, requests a second",
            "reqps",
            {"{{tenant}}": "topk(10, sum by (tenant) (rate(kv_erp_tenant_requests_total[5m])))"},
        ),
        Panel(
            "Busiest tenants, time spent",
            "s",
            {
                "{{tenant}}": "topk(10, sum by (tenant) "
                "(rate(kv_erp_tenant_request_seconds_total[5m])))"
            },
        ),
        Panel(
            "Tenants with failing requests",
            "reqps",
            {
                "{{tenant}}": "topk(10, sum by (tenant) "
                '(rate(kv_erp_tenant_requests_total{outcome="failed"}[5m])))'
            },
        ),
        Panel("Tenants", "short", {"{{plan}}": "max by (plan) (kv_erp_tenants)"}),
        Panel("People", "short", {"people": "max(kv_erp_users)"}),
        Panel("New people in a day", "short", {"people": "max(kv_erp_user_registrations)"}),
        Panel(
            "Refused",
            "reqps",
            {
                "limit of a {{bucket}}": "sum by (bucket) "
                "(rate(kv_erp_rate_limit_refused_total[5m]))",
                "too many calls to {{service}}": "sum by (service) "
                "(rate(kv_erp_tenant_calls_refused_total[5m]))",
            },
        ),
        Panel(
            "Cache",
            "ops",
            {"{{outcome}}": "sum by (outcome) (rate(kv_erp_cache_lookups_total[5m]))"},
        ),
        Panel(
            "Locks",
            "ops",
            {
                "{{outcome}}": "sum by (outcome) (rate(kv_erp_locks_total[5m]))",
                "lost": "sum(rate(kv_erp_locks_lost_total[5m]))",
            },
        ),
    ),
)
ALL = (OVERVIEW, SERVICE, EVENTS, TENANTS)


def files() -> Iterator[tuple[Path, str]]:
    """Each dashboard's file and what is to be in it."""
    for dashboard in ALL:
        text = json.dumps(_page(dashboard), indent=1, ensure_ascii=False) + "\n"
        yield FOLDER / f"{dashboard.name}.json", text


def _page(dashboard: Dashboard) -> dict[str, Any]:
    variables = [{"name": "source", "type": "datasource", "query": "prometheus"}]
    if dashboard.choose:
        label, metric = dashboard.choose
        query = f"label_values({metric}, {label})"
        variables.append({"name": "chosen", "label": label, "type": "query", "query": query})
        variables[-1] |= {"datasource": _SOURCE, "refresh": 2}  # type: ignore[dict-item]
    return {
        "uid": f"kv-erp-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["kv-erp"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables},
        "panels": [_graph(place, panel) for place, panel in enumerate(dashboard.panels)],
    }


def _graph(place: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(place, _PER_ROW)
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expr, "legendFormat": legend}
            for number, (legend, expr) in enumerate(panel.lines.items())
        ],
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in files():
        path.write_text(text)
