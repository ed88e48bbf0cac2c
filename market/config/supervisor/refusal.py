"""The one way a start is refused."""


class Refused(Exception):
    """The start cannot go on; the message says what is wrong and what to do. Ends the command with exit code 2."""
