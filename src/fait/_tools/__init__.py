"""Command-line tools: the `fait` command in `cli`, and the processes of `fait verify-store` in `verify`."""
