"""Whether the machines of a cluster are fit for a run: `nezha-pipe cluster check`. A finding for each thing that is looked at.

    check.py       check(): ask all machines, and judge what they say
    findings.py    Finding: ok, a warning, or an error that would break a run
    machine.py     the actor on each machine that tells about it
    versions.py    Python, Ray, torch, ours, and the packages that decide the bytes of `prepare`
    resources.py   disk, /dev/shm, GPUs, priority
    clocks.py      how far apart clocks are, however slow the network
    network.py     the speed of an all-reduce, and a machine whose link is slower than the others'

Every question has a time limit, so a machine that hangs is a finding and does not hang the check. Nothing is left on the
machines: the actors claim no CPU, and the file by which they are asked what they see is removed.
"""
