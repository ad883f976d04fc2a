"""Who may speak to whom, read from NetworkPolicies as Kubernetes reads them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Labels = Mapping[str, str]
Policy = Mapping[str, Any]


def may_speak(policies: Iterable[Policy], one: Labels, other: Labels, port: int) -> bool:
    """Whether a pod with the first labels may open a connection to one with the others."""
    policies = list(policies)
    return _allowed(policies, one, "Egress", other, port) and _allowed(
        policies, other, "Ingress", one, port
    )


def _allowed(policies: Sequence[Policy], of: Labels, way: str, peer: Labels, port: int) -> bool:
    mine = [one["spec"] for one in policies if _selects(one["spec"]["podSelector"], of)]
    mine = [spec for spec in mine if way in spec["policyTypes"]]
    rules = [rule for spec in mine for rule in spec.get(way.lower(), ())]
    return not mine or any(_admits(rule, way, peer, port) for rule in rules)


def _admits(rule: Mapping[str, Any], way: str, peer: Labels, port: int) -> bool:
    peers = rule.get("to" if way == "Egress" else "from")
    ports = [one["port"] for one in rule.get("ports", ())]
    return (not ports or port in ports) and (
        not peers or any(_is(selector, peer) for selector in peers)
    )


def _is(selector: Mapping[str, Any], peer: Labels) -> bool:
    # Other namespaces and addresses are nobody's whom we compare.
    if "namespaceSelector" in selector or "ipBlock" in selector:
        return False
    return _selects(selector["podSelector"], peer)


def _selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items()
