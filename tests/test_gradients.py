"""Gradients are summed in buckets during the last backward pass: the same sums on all workers, whatever each has to do."""

import functools
import itertools
import multiprocessing
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.optimization import gradients
from model.optimization.gradients import Gradients

BUCKET_BYTES = 350
"""Each layer, of 320 bytes, is a bucket."""
TIMEOUT = 120
"""Longest time that the processes of a test may take."""


class Network(nn.Module):
    """Four layers, the first one's weight tied to the last product, and a head that some batches do not use."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embeddings = nn.Embedding(50, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 2)

    def forward(self, ids: Tensor, head: bool) -> Tensor:
        hidden: Tensor = self.embeddings(ids)
        for layer in self.layers:
            hidden = torch.tanh(layer(hidden))
        loss: Tensor = (hidden @ self.embeddings.weight.T).logsumexp(-1).sum()
        return loss + self.head(hidden).pow(2).sum() if head else loss


def batches(rank: int) -> list[tuple[Tensor, bool]]:
    """Three micro-batches on rank 0, the last one without the head; one on rank 1; none on any other."""
    generator = torch.Generator().manual_seed(rank)
    count = (3, 1)[rank] if rank < 2 else 0
    return [(torch.randint(0, 50, (6,), generator=generator), number < 2) for number in range(count)]


def summed(rank: int, precision: Any = "fp32") -> Gradients:
    """One step of a worker."""
    network = Network()
    made = Gradients(list(network.parameters()), list(network.head.parameters()), 1, precision, BUCKET_BYTES)
    for _ in range(2):  # what a step leaves behind must not reach the next
        made.zero()
        parts = batches(rank)
        for ids, head in parts[:-1]:
            made.sums += 1
            network(ids, head).backward()
        with made.all_reduced():
            for ids, head in parts[-1:]:
                made.sums += 1
                network(ids, head).backward()
    return made


def work(rank: int, size: int, port: int, body: Callable[..., Any], arguments: tuple[Any, ...], folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    try:
        torch.save(body(rank, *arguments), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def together(folder: Path, size: int, body: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `body(rank, *arguments)` returns in each of several workers; the error of one that fails is its exit code."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=work, args=(rank, size, port, body, arguments, str(folder)), daemon=True) for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT)
    stuck = [process for process in processes if process.is_alive()]
    for process in stuck:
        process.kill()
    assert not stuck, "a worker waits for ever"
    files = [folder / f"{rank}.pt" for rank in range(size)]
    return [torch.load(file) if file.exists() else process.exitcode for file, process in zip(files, processes, strict=True)]


def starts(rank: int) -> list[tuple[str, int | str]]:
    """What happens in a step, in order: gradients that are final, and the sizes of the all-reduces."""
    network = Network()
    seen: list[tuple[str, int | str]] = []
    made = Gradients(list(network.parameters()), list(network.head.parameters()), 1, bucket_bytes=BUCKET_BYTES)
    original = dist.all_reduce

    def watched(tensor: Tensor, *rest: Any, **named: Any) -> Any:
        seen.append(("sent", tensor.numel()))
        return original(tensor, *rest, **named)

    dist.all_reduce = watched
    for name, parameter in network.named_parameters():
        hook = functools.partial(lambda name, _: seen.append(("final", name)), name)
        parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
    with made.all_reduced():
        for ids, head in batches(rank)[-1:]:
            network(ids, head).backward()
        seen.append(("backward", "ended"))
    return seen


def alone(rank: int) -> Tensor:
    return summed(rank).tensor


def several_steps(rank: int) -> list[Any]:
    made = [summed(rank), summed(rank), summed(rank, "bf16")]
    return [*((one.tensor, one.sums) for one in made), starts(rank)]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What three workers with 3, 1 and 0 micro-batches make, of which some leave the head without gradients."""
    return together(tmp_path_factory.mktemp("steps"), 3, several_steps)


def test_every_worker_has_the_sum_of_all_whatever_its_micro_batches(steps: list[Any]) -> None:
    (first, sums), *others = [worker[0] for worker in steps]
    torch.testing.assert_close(first, torch.stack([alone(rank) for rank in range(3)]).sum(0), rtol=1e-5, atol=1e-6)
    assert sums.tolist() == [4.0]
    assert all(torch.equal(tensor, first) for tensor, _ in others)


def test_a_step_has_the_same_bits_each_time(steps: list[Any]) -> None:
    assert all(torch.equal(worker[0][0], worker[1][0]) for worker in steps)


def test_in_bf16_all_have_the_same_rounded_gradients_and_exact_sums(steps: list[Any]) -> None:
    first, sums = steps[0][2]
    assert first.dtype == torch.float32 and not torch.equal(first, steps[0][0][0])
    torch.testing.assert_close(first, steps[0][0][0], rtol=0.02, atol=0.02)
    assert sums.tolist() == [4.0]
    assert all(torch.equal(worker[2][0], first) for worker in steps)


def test_buckets_are_sent_during_the_backward_pass_in_the_same_order_everywhere(steps: list[Any]) -> None:
    """Also where the head has no gradient (rank 0), and without a micro-batch (rank 2)."""
    seen = [worker[3] for worker in steps]
    sent = [[size for what, size in one if what == "sent"] for one in seen]
    assert sent == [[1, 80, 80, 80, 400, 32]] * 3
    for one in seen[:2]:
        early = one.index(("sent", 80))
        assert early < one.index(("final", "layers.0.weight")), "the last layer is sent before the first one is computed"
        assert one.index(("sent", 400)) > one.index(("final", "embeddings.weight"))
    assert seen[0].index(("sent", 400)) < seen[0].index(("backward", "ended")) < seen[0].index(("sent", 32))


def failing(rank: int) -> str:
    """Rank 1 fails in the middle of the backward pass, when some buckets are on their way."""
    network = Network()
    made = Gradients(list(network.parameters()), list(network.head.parameters()), 1, bucket_bytes=BUCKET_BYTES)
    if rank == 1:

        def fail(gradient: Tensor) -> None:
            raise ArithmeticError

        dict(network.named_parameters())["layers.1.weight"].register_hook(fail)  # type: ignore[no-untyped-call]
    with made.all_reduced():
        network(*batches(0)[0]).backward()
    return "ended"


def test_a_worker_that_fails_in_its_backward_pass_ends_and_so_do_the_others(tmp_path: Path) -> None:
    assert together(tmp_path, 2, failing) == [1, 1]


def test_one_process_sends_nothing_and_rounds_nothing() -> None:
    assert torch.equal(summed(0, "bf16").tensor, summed(0, "fp32").tensor)


def test_the_tensor_holds_each_parameter_once_in_cache_lines() -> None:
    network = Network()
    made = Gradients(list(network.parameters()), list(network.head.parameters()), 3)
    spans = sorted(
        (parameter.grad.storage_offset(), parameter.numel()) for parameter in network.parameters() if parameter.grad is not None
    )
    assert all(start % gradients.ALIGNMENT == 0 for start, _ in spans)
    assert all(start + size <= other for (start, size), (other, _) in itertools.pairwise(spans))
    assert made.sums.storage_offset() >= sum(spans[-1]) and len(made.sums) == 3
    covered = sorted((bucket.gradients.storage_offset(), bucket.gradients.numel()) for bucket in made.buckets)
    assert covered[0][0] == 0 and sum(size for _, size in covered) == made.tensor.numel()
    assert sorted(id(p) for bucket in made.buckets for p in bucket.parameters) == sorted(map(id, network.parameters()))
