"""Clusters that are written down: valid for KubeRay, for Ray's launcher, Amazon and systemd; what is wrong is named."""

import configparser
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import botocore.session
import click
import pytest
import yaml
from botocore.validate import ParamValidator
from click.testing import CliRunner, Result

from cluster.config import ClusterConfig
from cluster.manifests.config import ManifestConfig, check_schedule
from cluster.manifests.job import Bounds, Job, bounds
from cluster.manifests.render import KINDS, Kind, render
from cluster.manifests.starting import STOP
from pipeline.errors import RecipeError
from tests.kuberay_schemas import errors, needs_schemas
from tests.slow_processes import wait_for
from workflows import recipe, toml_settings
from workflows.cli import clusters, commands, main

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
KUBERAY: tuple[Kind, ...] = ("kuberay", "kuberay-job", "kuberay-cron")
BASE = {"image": "registry.example/nezha-pipe:0.1.0", "job.output": "s3://bucket/nezha"}
EACH: dict[Kind, dict[str, Any]] = {
    "kuberay": {},
    "kuberay-job": {},
    "kuberay-cron": {"kubernetes.schedule": "30 2 * * 1-5"},
    "onprem": {"onprem.head": "10.0.0.1", "onprem.hosts": ["10.0.0.2", "10.0.0.3"]},
    "systemd": {
        "onprem.head": "10.0.0.1",
        "onprem.hosts": ["10.0.0.2", "10.0.0.3"],
        "onprem.token_file": "/etc/nezha-pipe/token",
    },
    "aws": {"aws.region": "eu-west-1", "aws.machine_type": "p4d.24xlarge"},
}
"""What a kind needs beside BASE."""
OPTIONS: dict[str, dict[str, Any]] = {
    "GPUs": {"machines.gpus": 4},
    "head trains": {"head.gpus": 8},
    "bounds": {"machines.min": 1, "machines.max": 2},
    "node labels": {"machines.selector": {"nvidia.com/gpu.product": "Tesla-V100-SXM2-32GB"}},
    "spot": {"spot.min": 1, "spot.max": 1, "spot.selector": {"cloud.google.com/gke-spot": "true"}},
    "volume": {"storage.claim": "nezha-data", "job.output": "/data/nezha"},
    "store": {"storage.secret": "bucket-keys", "storage.endpoint": "https://minio.example:9000"},
    "keys in a file": {"storage.environment_file": "/etc/nezha-pipe/keys"},
    "token": {"kubernetes.token_secret": "ray-token"},
    "Kueue": {"kubernetes.kueue_queue": "training"},
    "Volcano": {"kubernetes.volcano_queue": "training"},
    "AMD": {"kubernetes.gpu_resource": "amd.com/gpu"},
    "namespace": {
        "kubernetes.namespace": "research",
        "kubernetes.service_account": "nezha",
        "kubernetes.pull_secret": "registry",
    },
    "time zone": {"kubernetes.time_zone": "Asia/Shanghai"},
    "times": {"machines.idle_seconds": 60, "kubernetes.keep_seconds": 0, "job.retries": 0},
    "prepare": {"job.command": "prepare"},
    "pretrain": {"job.command": "pretrain", "job.data": "s3://bucket/data"},
    "zones": {"aws.zones": ["eu-west-1a", "eu-west-1b"], "aws.ami": "ami-0123456789abcdef0", "aws.head_type": "m7i.large"},
    "role": {"aws.instance_profile": "arn:aws:iam::123456789012:instance-profile/nezha", "aws.disk_gb": 200},
    "recipe": {"recipe": "name = 'mine'\n# 中文\n[[source]]\n"},
    "overrides": {"settings": ("encoder.hidden_size=256", "source.0.input=['a b.txt', \"100%\"]")},
}
"""Every option that a cluster can have, alone; `recipe` and `settings` are of the recipe."""
CONFLICTS = [{"Kueue", "Volcano"}, {"prepare", "pretrain"}]
"""Options of which one replaces the other."""
REFUSED = {"kuberay-cron": ("Kueue", "Volcano"), "onprem": ("spot",), "systemd": ("spot",)}
"""Options that a kind cannot have, and refuses."""


def made(kind: Kind, *options: str, workers: str = "1:16", **more: Any) -> dict[str, str]:
    """The files of a kind with some options of the table, for GPUs and a number of workers."""
    settings = {**BASE, **EACH[kind]}
    for option in options:
        settings.update(OPTIONS[option])
    settings.update({name.replace("__", "."): value for name, value in more.items()})
    text, overrides = settings.pop("recipe", None), settings.pop("settings", ())
    content: dict[str, Any] = {}
    for name, value in settings.items():
        *table, key = name.split(".")
        (content.setdefault(table[0], {}) if table else content)[key] = value
    cluster = ClusterConfig(workers=workers, gpus_per_worker=1)
    job = Job(recipe="my.toml" if text else "nezha-base-2019", text=text, settings=overrides, cluster=cluster)
    return render(kind, toml_settings.build(ManifestConfig, content, "cluster.toml"), job)


def workers_for(kind: Kind, options: tuple[str, ...]) -> str:
    """A number of workers that the options have room for."""
    each = 4 if "GPUs" in options else 8
    most = 2 * each if "bounds" in options or kind in ("onprem", "systemd") else 16  # there are two machines
    most += each * ("spot" in options) + 8 * ("head trains" in options)
    return f"1:{most}"


def documents(files: dict[str, str]) -> list[dict[str, Any]]:
    return [one for text in files.values() for one in yaml.load_all(text, Loader=LOADER)]


def combinations(kind: Kind) -> list[tuple[str, ...]]:
    """No option, each alone, and all at once that go together, so that every two that do are together once."""
    allowed = [name for name in OPTIONS if name not in REFUSED.get(kind, ())]
    without = itertools.product(*([name for name in pair if name in allowed] or [""] for pair in CONFLICTS))
    return [
        (),
        *((name,) for name in allowed),
        *(tuple(name for name in allowed if name not in left_out) for left_out in without),
    ]


@needs_schemas
@pytest.mark.parametrize("kind", KUBERAY)
def test_every_option_of_kubernetes_is_valid_for_kuberay_itself(kind: Kind) -> None:
    for options in combinations(kind):
        for one in documents(made(kind, *options, workers=workers_for(kind, options))):
            if one["kind"] == "ConfigMap":
                assert one["data"] == {"recipe.toml": OPTIONS["recipe"]["recipe"]} and one["apiVersion"] == "v1"
            else:
                assert not (found := errors(one)), (options, found)


@needs_schemas
def test_a_field_that_kuberay_does_not_know_is_seen() -> None:
    (job,) = documents(made("kuberay-job"))
    job["spec"]["shutdownAfterJobFinish"] = True
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] = "one"
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["resource"] = {}
    assert len(errors(job)) == 3


@pytest.mark.parametrize("kind", ["onprem", "aws"])
def test_every_option_is_valid_for_rays_launcher(kind: Kind) -> None:
    util = pytest.importorskip("ray.autoscaler._private.util", reason="Ray has moved what checks the launcher's files")
    for options in combinations(kind):
        (config,) = documents(made(kind, *options, workers=workers_for(kind, options)))
        ready = util.prepare_config(config)
        util.validate_config(ready)
        assert "ray stop" not in json.dumps(ready), options


def test_a_key_that_rays_launcher_does_not_know_is_seen() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util", reason="Ray has moved what checks the launcher's files")
    (config,) = documents(made("onprem"))
    with pytest.raises(Exception, match="worker_start_ray_command"):
        util.validate_config(util.prepare_config({**config, "worker_start_ray_command": []}))


def test_amazon_knows_the_machines() -> None:
    shape = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    for options in combinations("aws"):
        (config,) = documents(made("aws", *options, workers=workers_for("aws", options)))
        for kind in config["available_node_types"].values():
            report = ParamValidator().validate({**kind["node_config"], "MinCount": 1, "MaxCount": 1}, shape)
            assert not report.has_errors(), report.generate_report()
    spot = config["available_node_types"]["spot"]
    assert spot["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert config["available_node_types"]["head"]["resources"]["CPU"] == 8, "the last has all options: its head trains"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_calls_ray_stop_and_everything_asks_for_a_token(kind: Kind) -> None:
    for text in made(kind).values():
        assert "ray stop" not in text
        token = "mode: token" if kind in KUBERAY else "RAY_AUTH_MODE=token"
        assert token in text


@pytest.mark.parametrize(("kind", "option"), [(kind, option) for kind, refused in REFUSED.items() for option in refused])
def test_an_option_that_a_kind_cannot_have_is_refused(kind: Kind, option: str) -> None:
    (field,) = [name for name in OPTIONS[option] if name.endswith(("queue", "spot.max"))]
    with pytest.raises(RecipeError, match=rf"^{field} "):
        made(kind, option)


BROKEN = [
    ("name=Nezha_2019", "name"),
    ("image=", "image"),
    ("image=reg.example/nezha pipe", "image"),
    ("head.memory=32 GB", "memory"),
    ("head.cpus=0", "cpus"),
    ("machines.gpus=-1", "gpus"),
    ("machines.gpus=two", "gpus"),
    ("machines.gpu=8", "gpus"),
    ("machines.min=4", "min"),
    ("machines.max=1", "max"),
    ("machines.max=9", "max"),
    ('machines.selector={"gpu type" = "V100"}', "selector"),
    ("spot.min=3", "min"),
    ("spot.max=2", "spot.selector"),
    ("storage.mount=data", "mount"),
    ("storage.claim=Data", "claim"),
    ("storage.endpoint=ftp://store", "endpoint"),
    ("storage.endpoint=https://me:pass@store:9000", "endpoint"),
    ("job.command=train", "command"),
    ("job.command=pretrain", "data"),
    ("job.output=runs/nezha", "output"),
    ("job.output=/data/nezha", "job.output"),
    ("job.output=", "job.output"),
    ("job.output=s3://key:secret@bucket/nezha", "output"),
    ("job.retries=-1", "retries"),
    ("kubernetes.token_secret=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "token_secret"),
    ("kubernetes.volcano_queue=training", "volcano_queue"),
    ("kubernetes.schedule=at noon", "schedule"),
    ("kubernetes.schedule=61 3 * * *", "schedule"),
    ("kubernetes.schedule=90,*/90 3 * * *", "schedule"),
    ("kubernetes.schedule=*/0 3 * * *", "schedule"),
    ("kubernetes.schedule=0 5-2 * * *", "schedule"),
    ("kubernetes.schedule=0 3 - * *", "schedule"),
    ("kubernetes.schedule=0 3 * * jan", "schedule"),
    ("kubernetes.schedule=", "kubernetes.schedule"),
    ("kubernetes.time_zone=Shanghai time", "time_zone"),
    ("kubernetes.gpu_resource=huawei.com/Ascend910", "gpu_resource"),
    ("onprem.hosts=['10.0.0.2', '10.0.0.2']", "hosts"),
    ("aws.region=Frankfurt", "region"),
    ("aws.zones=['Frankfurt']", "zones"),
    ("aws.machine_type=V100", "machine_type"),
    ("aws.ami=ubuntu", "ami"),
    ("aws.instance_profile=nezha", "instance_profile"),
    ("kubernetes=8", "kubernetes"),
    ("machins.gpus=8", "machines"),
    ("kubernetes.namespace='a\\nb'", "namespace"),
]


@pytest.mark.parametrize(("option", "field"), BROKEN)
def test_a_broken_setting_is_refused_by_its_name(option: str, field: str) -> None:
    kueue = ["--option", "kubernetes.kueue_queue=training"] if "volcano" in option else []
    done = rendered("kuberay-cron", "--config", "kubernetes", "--set", "cluster.workers=2:16", *kueue, "--option", option)
    assert done.exit_code == 2, done.output
    assert re.search(rf"(^|[\s'.\[:]){re.escape(field)}\b", done.stderr.removeprefix("Error: ")), done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout
    assert "pass@" not in done.stderr and "secret@" not in done.stderr


@pytest.mark.parametrize("schedule", ["*/15 2,14 1-15/2 jan-Jun,12 Mon-Fri", "@daily"])
def test_lines_of_cron_are_taken(schedule: str) -> None:
    check_schedule(schedule)


def rendered(kind: str, *arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["cluster", "render", "nezha-base-2019", "--kind", kind, *arguments])


def test_the_kinds_of_the_command_are_those_there_are() -> None:
    assert clusters.KINDS == KINDS


@pytest.mark.parametrize(
    ("workers", "settings", "expected"),
    [
        ("8", {}, (1, 1)),
        ("9", {}, (2, 2)),
        ("8:32", {}, (1, 4)),
        ("2:20", {"machines.gpus": 4}, (1, 5)),
        ("16", {"head.gpus": 8}, (1, 1)),
        ("8", {"head.gpus": 8}, (0, 0)),
        ("8:32", {"spot.max": 3, "spot.selector": {"spot": "true"}}, (1, 1)),
        ("16:32", {"machines.min": 0}, (0, 4)),
        ("8:16", {"machines.cpus": 4}, (2, 4)),
    ],
)
def test_machines_are_as_many_as_the_workers_need(workers: str, settings: dict[str, Any], expected: tuple[int, int]) -> None:
    (job,) = documents(
        made("kuberay-job", workers=workers, **{name.replace(".", "__"): value for name, value in settings.items()})
    )
    groups = {group["groupName"]: group for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]}
    found = groups.get("machines", {"minReplicas": 0, "maxReplicas": 0, "replicas": 0})
    assert (found["minReplicas"], found["maxReplicas"]) == expected and found["replicas"] == found["minReplicas"]
    scaled = expected[0] < expected[1] or "spot" in groups
    assert job["spec"]["rayClusterSpec"].get("enableInTreeAutoscaling", False) is scaled


@pytest.mark.parametrize(
    ("workers", "settings", "message"),
    [
        ("16", {"min": 1, "max": 2}, "machines.min 1: room for 8 workers at the start, and the recipe's 16 start together"),
        ("4:32", {"max": 2}, "machines.max 2: room for 16 workers at most, and the recipe has 4 to 32; set machines.max=4"),
        ("4:32", {"min": 5, "max": 5}, "machines.min 5: room for 40 workers, and.*; set machines.min=4"),
        ("4:32", {"min": 1, "max": 6}, "machines.max 6: room for 48 workers, and.*; set machines.max=4"),
        ("8", {"gpus": 0}, "machines.gpus 0: a worker of the recipe needs 1 CPUs and a GPU"),
    ],
)
def test_machines_that_do_not_match_the_recipes_workers_are_refused(workers: str, settings: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        made("kuberay-job", workers=workers, **{f"machines__{name}": value for name, value in settings.items()})


def test_workers_on_cpus_need_machines_by_their_cpus() -> None:
    config = toml_settings.build(ManifestConfig, {"machines": {"gpus": 0, "cpus": 8}}, "cluster.toml")
    assert bounds(config, ClusterConfig(workers="2:9", cpus_per_worker=4)) == Bounds(1, 5, 0, 0)
    idle = toml_settings.build(ManifestConfig, {}, "cluster.toml")
    with pytest.raises(RecipeError, match=r"machines\.gpus 8: the recipe trains on CPUs"):
        bounds(idle, ClusterConfig(workers=2))


def test_the_cluster_of_2019_is_ten_servers_of_eight_gpus() -> None:
    done = rendered("onprem", "--config", "nezha-2019", "--set", "cluster.workers=80")
    config = yaml.safe_load(done.stdout)
    machines = [config["provider"]["head_ip"], *config["provider"]["worker_ips"]]
    assert len(set(machines)) == 10 and (config["min_workers"], config["max_workers"]) == (9, 9)
    (start,) = config["head_start_ray_commands"]
    assert "num-gpus" not in start, "the head trains too"
    more = rendered("onprem", "--config", "nezha-2019", "--set", "cluster.workers=88")
    assert more.exit_code == 2 and "room for 80 workers" in more.stderr


@pytest.mark.parametrize("kind", ["kuberay-job", "kuberay-cron", "systemd"])
@pytest.mark.parametrize("options", [(), ("prepare",), ("pretrain",), ("recipe",), ("overrides",)])
def test_the_command_of_a_job_is_one_that_the_program_takes(kind: Kind, options: tuple[str, ...]) -> None:
    words = job_command(made(kind, *options))
    assert words[0].rpartition("/")[2] == "nezha-pipe"
    command = commands()[words[1]]
    context = command.make_context(words[1], words[2:])
    assert context.params["recipe"] == ("/etc/nezha-pipe/recipe.toml" if "recipe" in options else "nezha-base-2019")
    if "overrides" in options:
        assert context.params["settings"][-2:] == OPTIONS["overrides"]["settings"]
    assert "cluster.address=auto" in words or "address=auto" in words


def job_command(files: dict[str, str]) -> list[str]:
    """The words of the command that the job runs."""
    if "nezha.service" in files:
        line = unit(files["nezha.service"])["Service"]["ExecStart"]
        return shlex.split(line.replace("%%", "%").replace("$$", "$"))
    job = documents(files)[-1]["spec"]
    words = shlex.split(job.get("jobTemplate", job)["entrypoint"])
    assert words.pop(0) == "exec"
    return words


def unit(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


@pytest.mark.parametrize("options", [(), ("head trains",)])
def test_ray_knows_the_options_that_start_it(options: tuple[str, ...]) -> None:
    from ray.scripts.scripts import start

    assert isinstance(start, click.Command)
    lines = [unit(text)["Service"]["ExecStart"] for name, text in made("systemd", *options).items() if "-ray-" in name]
    for kind in ("onprem", "aws"):
        (config,) = documents(made(kind, *options))
        for role in ("head", "worker"):
            (background,) = config[f"{role}_start_ray_commands"]
            inner = shlex.split(background)[shlex.split(background).index("-c") + 1]
            lines.append(inner[inner.index("/ray start" if kind == "onprem" else " ray start") :])
    assert len(lines) == 6
    for line in lines:
        words = shlex.split(line)
        assert words[1] == "start"
        start.make_context("ray", words[2:])


def test_a_recipe_with_a_secret_is_not_written_down() -> None:
    done = rendered("kuberay-job", "--config", "kubernetes", "--set", "source.0.input=['s3://me:hidden@bucket/a.txt']")
    assert done.exit_code == 2 and "secret" in done.stderr and "hidden" not in done.output


def test_every_recipe_that_comes_with_the_program_can_be_written_down() -> None:
    for name in recipe.shipped():
        (about, _) = documents(made("kuberay-job", recipe=recipe.text_of(name)))
        assert about["data"]["recipe.toml"] == recipe.text_of(name)


def test_files_are_written_to_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "units"
    arguments = ("--config", "nezha-2019", "--set", "cluster.workers=80")
    done = rendered("systemd", *arguments, "--output", str(folder))
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        str(folder / name) for name in ("nezha-ray-head.service", "nezha-ray-machine.service", "nezha.service")
    ]
    printed = rendered("systemd", *arguments).stdout
    assert all(f"# {file.name}\n{file.read_text('utf-8')}" in printed for file in folder.iterdir())
    (tmp_path / "file").write_text("")
    refused = rendered("systemd", *arguments, "--output", str(tmp_path / "file"))
    assert refused.exit_code == 2 and "cannot be written" in refused.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
@pytest.mark.parametrize("options", [(), combinations("systemd")[-1]], ids=["no option", "all"])
def test_systemd_finds_no_fault_in_the_units(options: tuple[str, ...], tmp_path: Path) -> None:
    environment = with_commands(tmp_path, "exit 0")
    more = {"onprem__environment": str(environment), "onprem__user": "root"}
    files = made("systemd", *options, workers=workers_for("systemd", options), **more)
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in files if name.endswith(".service"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not [line for line in done.stderr.splitlines() if str(tmp_path) in line], done.stderr
    (tmp_path / "nezha.service").write_text(files["nezha.service"].replace("RestartSec", "RestartSecond"), encoding="utf-8")
    spoiled = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "RestartSecond" in spoiled.stderr, "a fault is seen"


def test_systemd_starts_a_failed_job_again_and_leaves_a_stopped_one() -> None:
    service = unit(made("systemd", job__retries=5)["nezha.service"])
    assert service["Service"]["Restart"] == "on-failure" and service["Unit"]["StartLimitBurst"] == "6"
    assert service["Service"]["SuccessExitStatus"] == "143", "training that stopped with a checkpoint has not failed"
    assert service["Service"]["KillMode"] == "mixed", "SIGTERM is for the supervisor, which passes it on"


def test_kuberay_starts_a_failed_job_again() -> None:
    (job,) = documents(made("kuberay-job", job__retries=5))
    assert job["spec"]["backoffLimit"] == 5 and job["spec"]["shutdownAfterJobFinishes"] is True
    assert job["spec"]["entrypoint"].startswith("exec "), "else the signal that stops a job ends a shell"


def test_a_machine_is_started_once_and_stopped_alone(tmp_path: Path) -> None:
    environment = with_commands(tmp_path, 'echo "$@" "$RAY_AUTH_MODE" "$KEY" >> "$HOME/started"; exec sleep 600')
    (tmp_path / "keys").write_text("KEY=of-the-store\n")
    settings = {"onprem__environment": str(environment), "storage__environment_file": str(tmp_path / "keys")}
    (config,) = documents(made("onprem", **settings))
    (line,) = config["worker_start_ray_commands"]
    env = {**os.environ, "HOME": str(tmp_path)}
    shell = ["bash", "-c", f"export RAY_HEAD_IP=10.0.0.1; {line}"]
    try:
        for _ in range(2):
            subprocess.run(shell, env=env, check=True, timeout=60)
            wait_for(
                lambda: (tmp_path / "started").exists() and (tmp_path / ".nezha-pipe-ray.lock").read_text().strip() != "",
                seconds=120,
            )
        held = ["flock", "--nonblock", str(tmp_path / ".nezha-pipe-ray.lock"), "true"]
        wait_for(lambda: subprocess.run(held).returncode == 1, seconds=120)
        assert (tmp_path / "started").read_text() == "start --address=10.0.0.1:6379 --block token of-the-store\n"
        subprocess.run(["bash", "-c", STOP], env=env, check=True, timeout=60)
        wait_for(lambda: subprocess.run(held).returncode == 0, seconds=120)
    finally:
        pid = (tmp_path / ".nezha-pipe-ray.lock").read_text().strip()
        if (
            pid
            and Path(f"/proc/{pid}/environ").exists()
            and str(tmp_path).encode() in Path(f"/proc/{pid}/environ").read_bytes()
        ):
            os.kill(int(pid), signal.SIGKILL)


def with_commands(folder: Path, script: str) -> Path:
    """A Python environment whose `ray` and `nezha-pipe` are a script."""
    (folder / "env" / "bin").mkdir(parents=True)
    for name in ("ray", "nezha-pipe"):
        path = folder / "env" / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder / "env"


PAGE = Path(__file__).parents[1] / "docs" / "cluster.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_what_the_page_shows_is_what_the_program_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    examples = Path(clusters.__file__).parents[2] / "cluster" / "manifests" / "examples"
    said, commands_run, blocks = "".join(file.read_text("utf-8") for file in examples.iterdir()), 0, 0
    for language, text in BLOCK.findall(page):
        if language == "sh":
            lines = [line for line in text.splitlines() if line.startswith("nezha-pipe cluster render")]
            if len(lines) == len(text.splitlines()) == 1:
                done = CliRunner().invoke(main, shlex.split(lines[0])[1:])
                written = [file.read_text("utf-8") for file in tmp_path.rglob("*.service")]
                said, commands_run = "\n".join([said, done.stdout, done.stderr, *written]), commands_run + 1
        else:
            blocks += 1
            assert f"\n{text}" in f"\n{said}", f"docs/cluster.md shows what the program does not print:\n{text}"
    assert commands_run >= 7 and blocks >= 9


def test_the_page_has_every_setting() -> None:
    from workflows.manual.pages import cluster as tables

    assert tables() in PAGE.read_text(encoding="utf-8"), (
        "docs/cluster.md: paste what `python -m workflows.manual cluster` prints"
    )


def test_the_page_has_every_kind() -> None:
    shown = re.findall(r"^\| `([a-z][a-z-]+)` \|", PAGE.read_text(encoding="utf-8").partition("## ")[0], re.MULTILINE)
    assert tuple(shown) == KINDS
