"""The error of a failed launch."""


class LaunchError(RuntimeError):
    """The course cannot start; the message is one line that ends in the remedy."""
