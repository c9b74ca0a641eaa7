"""A shop on SQLAlchemy that stores orders and events in one transaction."""
