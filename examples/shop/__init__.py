"""A tea shop: orders, stock, e-mails to customers, and read models for queries."""
