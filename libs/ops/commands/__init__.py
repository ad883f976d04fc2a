"""The commands of `kv-erp`, a module each; ops.main registers them."""
