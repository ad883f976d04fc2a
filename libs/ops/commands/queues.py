"""`kv-erp queues`: how much waits in each queue of each service."""

from ops.commands.console import AsJson, failures_as_sentences, print_json, print_rows
from ops.commands.gateway_api import Tenant, Token, Url, ask, targets


def queues(
    url: Url = None, token: Token = None, tenant: Tenant = None, as_json: AsJson = False
) -> None:
    """Show how many jobs wait and run, by tenant, service and queue."""
    with failures_as_sentences():
        found = {
            name: ask(client, "GET", "/queues")["queues"]
            for name, client in targets(url, token, tenant).items()
        }
    if as_json:
        print_json(found)
        return
    busy = [
        {"tenant": name, **queue}
        for name, its_queues in found.items()
        for queue in its_queues
        if any(int(queue[count]) for count in ("ready", "delayed", "running"))
    ]
    print_rows("Queues", busy, empty="Nothing waits and nothing runs.")
