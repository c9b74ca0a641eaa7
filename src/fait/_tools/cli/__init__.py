"""The `fait` command: imports and exports events, inspects and checks stores, runs workers."""
