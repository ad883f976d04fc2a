"""Accounting: the books of each company, its invoices and its payments."""
