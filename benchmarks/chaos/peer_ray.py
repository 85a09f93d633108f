"""The loop of Ray Train's documentation (user guide, "Saving and Loading Checkpoints" and "Handling Failures"), by steps.

A reported checkpoint every N steps, `max_failures=-1`, all else Ray's defaults. Data: a shuffled DataLoader that Ray prepares.
Runs on a host: `peer_ray.py STORE NAME`. Its workers note their steps as ours do.
"""

import itertools
import os
import sys
import tempfile
from typing import Any

from benchmarks.chaos.peer_network import BATCH, CHECKPOINT_EVERY, Numbers, loss_of, network, note


def train_loop(config: dict[str, Any]) -> None:
    import ray.train
    import ray.train.torch
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    model: Any = ray.train.torch.prepare_model(network())
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    loader: Any = ray.train.torch.prepare_data_loader(DataLoader(Numbers(), batch_size=BATCH // 2, shuffle=True))
    rank, step, before = ray.train.get_context().get_world_rank(), 0, 0
    if checkpoint := ray.train.get_checkpoint():
        with checkpoint.as_directory() as folder:
            saved = torch.load(os.path.join(folder, "model.pt"), weights_only=True)
        model.module.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step = before = saved["step"]
    for epoch in itertools.count():
        loader.sampler.set_epoch(epoch)
        for ids, tokens in loader:
            loss: Any = loss_of(model, tokens)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            note(config["name"], rank, before, step, loss.item(), ids.tolist())
            if step % CHECKPOINT_EVERY == 0:
                with tempfile.TemporaryDirectory() as folder:
                    checkpoint = None
                    if rank == 0:
                        state = {"model": model.module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
                        torch.save(state, os.path.join(folder, "model.pt"))
                        checkpoint = ray.train.Checkpoint.from_directory(folder)
                    ray.train.report({"loss": loss.item()}, checkpoint=checkpoint)


def main(store: str, name: str) -> None:
    import ray
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.torch.torch_trainer import TorchTrainer

    ray.init(address=os.environ["PEER_ADDRESS"], log_to_driver=False)
    TorchTrainer(
        train_loop,
        train_loop_config={"name": name},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name=name, storage_path=store, failure_config=FailureConfig(max_failures=-1)),
    ).fit()


if __name__ == "__main__":
    from benchmarks.chaos import peer_ray

    peer_ray.main(*sys.argv[1:])  # so that workers import the loop rather than get a copy
