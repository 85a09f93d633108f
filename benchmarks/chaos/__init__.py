"""`python -m benchmarks resume`: training on a cluster that something happens to about once a minute.

plan.py        which fault happens when: a seeded plan that can be repeated
injection.py   makes the faults happen on the hosts of tests/machines.py, and ends those that pass
worker.py      what each worker of ours runs: the training, and a note of every step; driver.py is its driver, and above it
training.py    one run of ours on a cluster under a plan, and the undisturbed run that it is compared with
ledger.py      from the notes of all steps: steps lost, seconds to recover, goodput, and whether each sample was used once
report.py      the table
peers.py       the same plan for other programs: peer_ray.py, the loop of Ray Train's documentation, and peer_torchft.py; both
               train peer_network.py
run.py         all of it
"""
