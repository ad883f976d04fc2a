"""`python -m ops`: the same as `kv-erp`."""

from ops.main import app

app()
