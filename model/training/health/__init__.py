"""The health of the workers: training that hangs is found, and workers that are slow for long.

watchdog.py       finds a worker that is frozen or cut off, and a collective that never ends
slow_workers.py   finds workers that are slower than the others
"""
