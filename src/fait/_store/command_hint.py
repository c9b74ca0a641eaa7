"""Commands of the `fait` command line, as errors and findings suggest them to an operator."""

__all__ = ["command_hint"]


def command_hint(arguments: str, redacted_url: str) -> str:
    """Return a command that an operator can copy: `fait ARGUMENTS --store URL`.

    Args:
        arguments: the subcommand and its other arguments.
        redacted_url: URL of the store without its password.
    """
    from shlex import quote  # only for messages

    return f"fait {arguments} --store {quote(redacted_url)}"
