"""Running notebooks from top to bottom, cleaning their outputs, and kernels on file sockets."""
