"""What holds for all tests."""

import signal

# A shell that starts tests in the background has them ignore Ctrl-C, and every program that they start inherits that:
# programs that are ended by it, or end their own children by it, would then never end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
