"""The process group of the workers: how they meet, over which network interface they talk, how they part.

A first reader may skip this file.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _setup_torch_process_group, _TorchBackend
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError

from cluster.nodes import use_node_interface

MEET_SECONDS = 300
"""Longest time in which all workers meet; one may freeze before it gets there."""


@dataclass
class GroupConfig(TorchConfig):
    """Ray's settings of the process group, and the folder in which the workers of our own Ray meet; "" in a running cluster."""

    folder: str = ""

    @property
    def backend_cls(self) -> type[Any]:
        return _Backend


class _Backend(_TorchBackend):
    """Ray's backend for torch, but for where the workers meet, over which interface, and how they part."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        import ray
        from ray.train._internal.utils import get_address_and_port

        worker_group.execute(use_node_interface)
        worker_group.execute(_set_torch_distributed_env_vars)
        if backend_config.folder:
            # Through a file: torch's own store would listen on all interfaces. A new one for each start of the workers: the
            # last one has what dead workers wrote.
            where = f"file://{backend_config.folder}/torch-{uuid.uuid4().hex}"
        else:
            address, port = worker_group.execute_single(0, get_address_and_port)
            where = f"tcp://{f'[{address}]' if ':' in address else address}:{port}"
        size = len(worker_group)
        joined = [
            worker_group.execute_single_async(
                rank,
                _setup_torch_process_group,
                backend=backend_config.backend,
                world_rank=rank,
                world_size=size,
                init_method=where,
                timeout_s=backend_config.timeout_s,
            )
            for rank in range(size)
        ]
        try:
            ray.get(joined, timeout=MEET_SECONDS)
        except ray.exceptions.GetTimeoutError as error:
            raise WorkerGroupStartupFailedError(f"the workers did not meet within {MEET_SECONDS} s") from error

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        """Leave the group as it is: the processes are about to end. Ray would wait for a frozen one for 30 s."""
