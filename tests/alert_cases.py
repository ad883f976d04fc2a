"""When each alert fires and when it does not: series as promtool writes them, a value a minute."""

from typing import NamedTuple


class Case(NamedTuple):
    """Series with which an alert fires after so many minutes, and others with which it does not."""

    fires: dict[str, str]
    quiet: dict[str, str]
    minutes: int = 30
    # How many alerts of that name.
    alerts: int = 1


_SERVERS = [
    f'kv_erp_process_info{{process="{name}", instance="{name}"}}'
    for name in (
        *("gateway", "inventory", "accounting", "sales"),
        *("inventory-worker", "accounting-worker", "sales-worker", "gateway-worker"),
    )
]
_REQUESTS = 'kv_erp_http_requests_total{method="GET", route="/api/v1/orders", status="%s"}'
_CALLS = 'kv_erp_rpc_requests_total{service="sales", method="m", code="%s"}'
_SLOW = 'kv_erp_http_request_duration_seconds_bucket{method="POST", route="/api/v1/%s", le="%s"}'
_LOOP = 'kv_erp_event_loop_lag_seconds_bucket{instance="a", le="%s"}'
_LANE = 'kv_erp_event_lag_seconds{service="accounting", lane="high", source="sales", instance="%s"}'
_DUTY = 'kv_erp_duty_%s_seconds{service="sales", duty="keep partitions", instance="%s"}'
_POOL = '{instance="a", pool="app"%s}'
_OPERATORS_BACKUP = "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp"

CASES = {
    "ProcessDown": Case(
        fires={'up{job="kv-erp-sales", instance="a"}': "1 1 0x30"},
        quiet={
            'up{job="kv-erp-sales", instance="a"}': "1x20 0 1x20",
            'up{job="another", instance="b"}': "0x40",
        },
    ),
    "ProcessMissing": Case(
        fires=dict.fromkeys(_SERVERS[1:], "1x40"),
        quiet=dict.fromkeys(_SERVERS, "1x40"),
    ),
    "ProcessRestarting": Case(
        fires={
            'process_start_time_seconds{instance="sales"}': "1 1 100 200 300 400x40",
            _SERVERS[3]: "1x40",
        },
        quiet={
            'process_start_time_seconds{instance="sales"}': "1x10 100x40",
            _SERVERS[3]: "1x40",
            'process_start_time_seconds{instance="another"}': "1+60x40",
        },
        minutes=10,
    ),
    "DatabaseDown": Case(
        fires={'kv_erp_dependency_up{dependency="database", instance="a"}': "1 0x40"},
        quiet={
            'kv_erp_dependency_up{dependency="database", instance="a"}': "1x40",
            'kv_erp_dependency_up{dependency="redis", instance="a"}': "0x40",
        },
    ),
    "RedisDown": Case(
        fires={'kv_erp_dependency_up{dependency="redis", instance="a"}': "1 0x40"},
        quiet={
            'kv_erp_dependency_up{dependency="redis", instance="a"}': "1x29 0 1x20",
            'kv_erp_dependency_up{dependency="database", instance="a"}': "0x40",
        },
    ),
    "ServiceUnreachable": Case(
        fires={
            'kv_erp_dependency_up{dependency="sales", instance="a"}': "1 0x40",
            'kv_erp_dependency_up{dependency="inventory", instance="a"}': "1x40",
        },
        quiet={
            'kv_erp_dependency_up{dependency="sales", instance="a"}': "1x40",
            'kv_erp_dependency_up{dependency="queue", instance="a"}': "0x40",
        },
    ),
    "CertificateExpiring": Case(
        fires={'certmanager_certificate_expiration_timestamp_seconds{name="sales"}': "500000x200"},
        quiet={'certmanager_certificate_expiration_timestamp_seconds{name="sales"}': "700000x200"},
        minutes=120,
    ),
    "ManyErrors": Case(
        fires={_REQUESTS % "200": "0+90x40", _REQUESTS % "500": "0+6x40"},
        quiet={
            _REQUESTS % "200": "0+100x40",
            _REQUESTS % "503": "0+4x40",
            _REQUESTS % "409": "0+900x40",
        },
    ),
    "ManyServiceErrors": Case(
        fires={_CALLS % "OK": "0+90x40", _CALLS % "INTERNAL": "0+6x40"},
        quiet={
            _CALLS % "OK": "0+100x40",
            _CALLS % "UNAVAILABLE": "0+4x40",
            _CALLS % "NOT_FOUND": "0+900x40",
        },
    ),
    "SlowRequests": Case(
        fires={
            _SLOW % ("orders", "1.0"): "0+90x40",
            _SLOW % ("orders", "2.5"): "0+94x40",
            _SLOW % ("orders", "5.0"): "0+100x40",
            _SLOW % ("orders", "+Inf"): "0+100x40",
        },
        quiet={
            _SLOW % ("orders", "1.0"): "0+96x40",
            _SLOW % ("orders", "5.0"): "0+100x40",
            _SLOW % ("orders", "+Inf"): "0+100x40",
            _SLOW % ("events", "1.0"): "0+0x40",
            _SLOW % ("events", "+Inf"): "0+1000x40",
        },
    ),
    "EventLoopLag": Case(
        fires={_LOOP % "0.5": "0+230x40", _LOOP % "1": "0+240x40", _LOOP % "+Inf": "0+240x40"},
        quiet={_LOOP % "0.5": "0+239x40", _LOOP % "1": "0+240x40", _LOOP % "+Inf": "0+240x40"},
    ),
    "PoolExhausted": Case(
        fires={
            "kv_erp_database_connections" + _POOL % ', state="used"': "3 8x40",
            "kv_erp_database_connections_limit" + _POOL % "": "8x40",
        },
        quiet={
            "kv_erp_database_connections" + _POOL % ', state="used"': "8x28 7 8x20",
            "kv_erp_database_connections" + _POOL % ', state="idle"': "8x40",
            "kv_erp_database_connections_limit" + _POOL % "": "8x40",
        },
    ),
    "ReplicaDown": Case(
        fires={
            'kv_erp_replica_up{replica="r1", instance="a"}': "0x40",
            'kv_erp_replica_up{replica="r1", instance="b"}': "0x40",
        },
        quiet={
            'kv_erp_replica_up{replica="r1", instance="a"}': "0x40",
            'kv_erp_replica_up{replica="r1", instance="b"}': "1x40",
        },
    ),
    "ReplicaLag": Case(
        fires={'kv_erp_replica_lag_seconds{replica="r1", instance="a"}': "0+10x40"},
        quiet={'kv_erp_replica_lag_seconds{replica="r1", instance="a"}': "25x40"},
    ),
    "WalArchiveFailing": Case(
        fires={
            f'kv_erp_wal_archive_failing{{service="sales", instance="{one}"}}': "0 0 1x40"
            for one in "ab"
        },
        quiet={'kv_erp_wal_archive_failing{service="sales", instance="a"}': "0x27 1 1 0x40"},
    ),
    "BackupTooOld": Case(
        fires={"kv_erp_backup_last_success_timestamp_seconds": "0x1800"},
        quiet={
            "kv_erp_backup_last_success_timestamp_seconds": "0x1800",
            # The operator's, of the three pods of a cluster of which one is new.
            f'{_OPERATORS_BACKUP}{{pod="a"}}': "0x1000 60000x800",
            f'{_OPERATORS_BACKUP}{{pod="b"}}': "0x1800",
        },
        minutes=1600,
    ),
    "BackupCopyTooOld": Case(
        fires={'kv_erp_backup_last_copy_timestamp_seconds{instance="a"}': "0x90"},
        quiet={
            # Copied every half an hour, in the seconds of the evaluation's own clock.
            'kv_erp_backup_last_copy_timestamp_seconds{instance="a"}': "0x30 1800x30 3600x30",
        },
        minutes=85,
    ),
    "QueueBacklog": Case(
        fires={
            'kv_erp_queue_waiting{service="sales", queue="high", instance="a"}': "600x40",
            'kv_erp_queue_waiting{service="sales", queue="low", instance="a"}': "600x40",
        },
        quiet={
            # Two workers that say the same are one queue.
            'kv_erp_queue_waiting{service="sales", queue="high", instance="a"}': "600x40",
            'kv_erp_queue_waiting{service="sales", queue="high", instance="b"}': "600x40",
            'kv_erp_queue_waiting{service="inventory", queue="high", instance="c"}': "600x40",
        },
    ),
    "QueueSlow": Case(
        fires={'kv_erp_queue_oldest_seconds{service="sales", queue="low"}': "0+60x40"},
        quiet={'kv_erp_queue_oldest_seconds{service="sales", queue="low"}': "250x40"},
    ),
    "EventLag": Case(
        fires={_LANE % "a": "0x20 10+60x40", _LANE % "b": "0x60"},
        quiet={_LANE % "a": "45x60", _LANE % "b": "0x60"},
    ),
    "EventSourceSilent": Case(
        fires={
            f"kv_erp_event_heads_last_read_timestamp_seconds{labels}": "0+60x10 600x40"
            for labels in (
                '{service="sales", source="gateway", instance="a"}',
                '{service="sales", source="gateway", instance="b"}',
            )
        },
        quiet={
            "kv_erp_event_heads_last_read_timestamp_seconds" + labels: values
            for labels, values in (
                ('{service="sales", source="gateway", instance="a"}', "0x40"),
                ('{service="sales", source="gateway", instance="b"}', "0+60x40"),
            )
        },
    ),
    "FailedJobs": Case(
        fires={'kv_erp_failed_jobs{service="sales", kind="event", instance="a"}': "0 1x40"},
        quiet={'kv_erp_failed_jobs{service="sales", kind="event", instance="a"}': "0x40"},
    ),
    "DutyNotDone": Case(
        fires={
            _DUTY % ("last_done_timestamp", "a"): "0x40",
            _DUTY % ("last_done_timestamp", "b"): "0+60x5 300x40",
            _DUTY % ("period", "a"): "300x40",
        },
        quiet={
            _DUTY % ("last_done_timestamp", "a"): "0x40",
            _DUTY % ("last_done_timestamp", "b"): "0+60x40",
            _DUTY % ("period", "a"): "300x40",
        },
    ),
    "DoorbellFailing": Case(
        fires={'kv_erp_doorbell_events_total{outcome="failed", instance="a"}': "0+5x40"},
        quiet={
            'kv_erp_doorbell_events_total{outcome="failed", instance="a"}': "5x40",
            'kv_erp_doorbell_events_total{outcome="rung", instance="a"}': "0+5x40",
        },
    ),
    "InvariantViolated": Case(
        fires={
            'kv_erp_invariant_violations{rule="entries_balance", instance="a"}': "0 2x40",
            'kv_erp_invariant_violations{rule="any", instance="a"}': "0 2x40",
        },
        quiet={
            'kv_erp_invariant_violations{rule="entries_balance", instance="a"}': "2x20 0x40",
            'kv_erp_invariant_violations{rule="any", instance="a"}': "2x20 0x40",
        },
    ),
    "InvariantsUnchecked": Case(
        fires={"kv_erp_invariants_last_checked_timestamp_seconds": "0x200"},
        quiet={"kv_erp_invariants_last_checked_timestamp_seconds": "0+60x200"},
        minutes=90,
    ),
    "LocksLost": Case(
        fires={'kv_erp_locks_lost_total{instance="a"}': "0x25 1x40"},
        quiet={'kv_erp_locks_lost_total{instance="a"}': "1x40"},
    ),
    "WorkingWithoutLocks": Case(
        fires={'kv_erp_locks_total{outcome="without_redis", instance="a"}': "0+1x40"},
        quiet={
            'kv_erp_locks_total{outcome="without_redis", instance="a"}': "3x40",
            'kv_erp_locks_total{outcome="held", instance="a"}': "0+9x40",
        },
    ),
    "LimitsWithoutRedis": Case(
        fires={'kv_erp_rate_limit_local_total{instance="a"}': "0+1x40"},
        quiet={'kv_erp_rate_limit_local_total{instance="a"}': "7x40"},
    ),
}
