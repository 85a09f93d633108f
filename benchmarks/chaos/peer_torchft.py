"""torchft's loop (its README and train_ddp.py) on Gloo: two replicas of one process each.

Gradients are summed by `Manager.allreduce`, in one piece: with torchft's DistributedDataParallel the death of a replica ends
the other one too (`assert fut._fut` in ddp.py, torchft 0.2.0 on Gloo), and both begin at step 0.

Runs in the environment of the peers, on a host: `peer_torchft.py NAME REPLICA`. What a restarted replica lacks it gets from the
other; there are no checkpoints in a store. Data: torchft's own sampler, "inherently lossy" by its docstring.
"""

import os
import sys
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader
from torchft import Manager, Optimizer, ProcessGroupGloo  # type: ignore[import-not-found]
from torchft.data import DistributedSampler  # type: ignore[import-not-found]

from benchmarks.chaos.peer_network import BATCH, Numbers, loss_of, network, note


def main(name: str, replica: int) -> None:
    torch.set_num_threads(1)
    address = os.environ["PEER_HOST"]
    store = dist.TCPStore(address, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    sampler = DistributedSampler(
        Numbers(), replica_rank=replica, num_replica_groups=2, group_rank=0, num_replicas=1, shuffle=True
    )
    loader = DataLoader(Numbers(), batch_size=BATCH // 2, sampler=sampler)

    def load(state: dict[str, dict[str, object]]) -> None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])

    manager = Manager(
        pg=ProcessGroupGloo(timeout=timedelta(seconds=5)),
        min_replica_size=1,
        load_state_dict=load,
        state_dict=lambda: {"model": model.state_dict(), "optimizer": optimizer.state_dict()},
        replica_id=f"replica_{replica}",
        timeout=timedelta(seconds=30),
        rank=0,
        world_size=1,
        store_addr=address,
        store_port=store.port,
        hostname=address,
    )
    model: Any = network()
    optimizer: Any = Optimizer(manager, torch.optim.AdamW(model.parameters(), lr=2e-3))
    for ids, tokens in loader:
        optimizer.zero_grad()
        before = manager.current_step()
        loss: Any = loss_of(model, tokens)
        loss.backward()
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        summed: Any = torch.cat([each.flatten() for each in gradients])
        manager.allreduce(summed).wait()
        for each, part in zip(gradients, summed.split([each.numel() for each in gradients]), strict=True):
            each.copy_(part.view_as(each))
        optimizer.step()
        if manager.current_step() > before:  # otherwise the step was not committed
            note(name, replica, 0, manager.current_step(), loss.item(), ids.tolist())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
