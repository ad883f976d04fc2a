"""The operators' command line `kv-erp`, and the local stack behind `make run`."""
