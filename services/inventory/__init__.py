"""What a company has: products, warehouses, stock, and the promises made on it."""
