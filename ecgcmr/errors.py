"""The one exception for mistakes a user can mend: a wrong path, a typo, a damaged file.

The command line prints its message on one line and exits with code 2; no traceback is shown.
"""


class UserError(Exception):
    """Bad input, told in one line.

    The message names the file and field concerned and says what to do about it. It must not contain anything of a
    patient beyond a file's own name.
    """


class Diverged(UserError):
    """A network whose loss, gradients, weights or outputs are no longer finite, though what it was given is.

    The one failure that speaks against a candidate of a search, and of nothing else.
    """
