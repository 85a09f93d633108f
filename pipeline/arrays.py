"""Names of array types, and integer helpers that several rooms need. Imports numpy only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
TokenIds = NDArray[np.unsignedinteger[Any]]
"""uint16, or uint32 for vocabularies of more than 65,536 tokens."""
