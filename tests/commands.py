"""Commands as a user runs them, in this process."""

from click.testing import CliRunner


def run(command, *arguments, code=0):
    """Run a Click command and check its exit code; errors that it does not handle are raised."""
    result = CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result
