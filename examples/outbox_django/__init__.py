"""An ordinary shop on Django, whose orders and messages are committed together."""
