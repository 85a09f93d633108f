"""What Ray Train's controller decides by our rules: which failures end a run, and how many workers there are.

failures.py   failures in a row, without a checkpoint between them, end it
room.py       how many workers the machines have room for
elastic.py    as many workers start as there is room for, and stop when there is room for more
"""
