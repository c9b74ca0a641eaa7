"""A tea shop: orders, stock, mail to customers, and read models for queries."""
