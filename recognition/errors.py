"""The one exception that commands turn into a single line for the user."""


class InputError(Exception):
    """Something the user gave is wrong: the message says what, where (file, key, offset, rank) and what to do."""
