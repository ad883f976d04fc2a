"""`kv-erp seed`: many tenants, products and customers, made by the API as anybody's are."""

import asyncio
from typing import Annotated

import typer

from ops.commands.console import (
    AsJson,
    dev_directory,
    err,
    failures_as_sentences,
    out,
    print_json,
    running_state,
    running_wiring,
)
from ops.dev_directory import DevDirectory
from ops.files import write_json
from ops.progress import Progress
from ops.seeding import Amount, fill, make_tenants


def seed(
    tenants: Annotated[int, typer.Option(min=1, max=1000, help="How many companies.")] = 20,
    products: Annotated[int, typer.Option(min=1, help="How many products in all.")] = 10_000,
    customers: Annotated[int, typer.Option(min=1, help="How many customers in all.")] = 1_000,
    stock: Annotated[int, typer.Option(min=0, help="Pieces of each product on hand.")] = 10_000,
    as_json: AsJson = False,
) -> None:
    """Fill the running stack for load tests; every record goes through the API's own rules."""
    with failures_as_sentences():
        state, directory = running_state(), DevDirectory(dev_directory())
        wiring = running_wiring({})
        amount = Amount(tenants, products, customers, stock)
        made = make_tenants(wiring, directory.logs / "gateway-seed.log", amount.tenants)
        filled = asyncio.run(fill(state["gateway"], wiring, made, amount, Progress(err)))
        write_json(directory.load, {"gateway": state["gateway"], "tenants": filled})
    counts = {
        "tenants": len(filled),
        "products": sum(len(one["products"]) for one in filled),
        "customers": sum(len(one["customers"]) for one in filled),
        "file": str(directory.load),
    }
    if as_json:
        print_json(counts)
    else:
        out.print("{tenants} tenants, {products} products, {customers} customers".format(**counts))
        out.print(f"Their tokens and ids are in {directory.load}.", soft_wrap=True)
