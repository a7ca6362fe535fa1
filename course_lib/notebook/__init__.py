"""Run notebooks from top to bottom and clean their outputs; kernels on IPC sockets."""
