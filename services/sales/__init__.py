"""Customers and their orders, from the first draft to the last shipment."""
