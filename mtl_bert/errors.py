"""The errors that a user can mend."""


class UserError(Exception):
    """Shown as its message, without a traceback.

    The message is one line: where, what was expected, what was found, what to write instead.
    """
