"""The errors of a failed launch."""


class LaunchError(RuntimeError):
    """The course cannot start; the message is one line that ends in the remedy."""


class EnvironmentDamaged(LaunchError):
    """Something that was installed is missing."""


class DiskFull(LaunchError):
    """An installation needs more space than there is."""
