"""An ordinary shop on SQLAlchemy, whose orders and messages are committed together."""
