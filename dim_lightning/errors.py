"""The one error that is the user's to mend."""


class InputError(Exception):
    """What was found, what was expected and what to do, in one short message.

    Raised for anything that a user can put right: a setting, a file, a data set, a full disk. The
    command line prints the message alone, without a traceback, and leaves with exit code 2.
    """
