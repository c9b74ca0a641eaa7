"""The shop: orders, the stock they are served from, the mail about them, and the tables that people look at."""
