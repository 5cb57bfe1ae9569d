"""What recipes/schedule and recipes/container have: each does what its first lines say."""

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from rsscale.cli import application

ROOT = Path(__file__).parents[1]
SCHEDULE, CONTAINER = ROOT / "recipes/schedule", ROOT / "recipes/container"
BATCH, BATCH_SCHEDULE = (SCHEDULE / f"aws-batch-{n}.json" for n in ("job-definition", "schedule"))
MANIFESTS = sorted(SCHEDULE.glob("kubernetes-*.yaml"))
SCRIPTS = sorted(SCHEDULE.glob("*.sh"))
UNITS = sorted(SCHEDULE.glob("*.service")) + sorted(SCHEDULE.glob("*.timer"))


def job_of(manifest: Path) -> dict[str, Any]:
    spec = yaml.safe_load(manifest.read_text("utf-8"))["spec"]
    return spec.get("jobTemplate", {"spec": spec})["spec"]


def words_of_commands() -> dict[str, list[str]]:
    """The words of each command line of rsscale, by the file that has it."""
    found = {}
    for script in SCRIPTS:
        text = script.read_text("utf-8").replace("\\\n", " ")
        text = text.replace('"${SLURM_CPUS_PER_TASK:-1}"', "1")
        (line,) = re.findall(r"^rsscale (.*)$", text, re.MULTILINE)
        found[script.name] = [word for word in line.split() if word != '"$@"']
    service = (SCHEDULE / "rsscale-update@.service").read_text("utf-8")
    (line,) = re.findall(r"^ExecStart=\S+/rsscale (.*)$", service, re.MULTILINE)
    found["systemd"] = line.split()
    for manifest in MANIFESTS:
        (container,) = job_of(manifest)["template"]["spec"]["containers"]
        found[manifest.name] = container["args"]
    found["aws-batch"] = json.loads(BATCH.read_text("utf-8"))["containerProperties"]["command"]
    return found


@pytest.mark.parametrize(("name", "words"), words_of_commands().items())
def test_each_command_line_is_one_of_rsscale(name: str, words: list[str]) -> None:
    command = typer.main.get_command(application.app).commands["run"]  # type: ignore[attr-defined]
    flags, rest = ["--log-format"], []
    given = [part for word in words[1:] for part in word.split("=", 1)]
    assert words[0] == "run", name
    assert "--update" in given
    assert given[given.index("--log-format") + 1] == "json"
    while given:
        word = given.pop(0)
        if word in flags:
            given.pop(0)
        else:
            rest.append(word)
    parsed = command.make_context("run", rest).params  # refuses what is no option
    assert parsed["update"]
    assert parsed["out"]
    assert parsed["grace"] < 60


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_pods_start_again_when_that_helps_and_only_then(manifest: Path) -> None:
    job = job_of(manifest)
    actions = {
        code: rule["action"]
        for rule in job["podFailurePolicy"]["rules"]
        for code in rule.get("onExitCodes", {}).get("values", ())
    }
    assert actions == {75: "Ignore", 130: "Ignore", 1: "FailJob", 2: "FailJob"}
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"  # else there is no such policy
    grace = next(int(w.split("=")[1]) for w in container["args"] if w.startswith("--grace="))
    assert grace < pod["terminationGracePeriodSeconds"]
    beat = f"--heartbeat={container['livenessProbe']['exec']['command'][1]}"
    assert beat in container["args"]
    port = f"--metrics={container['ports'][0]['containerPort']}"
    assert port in container["args"]
    assert {name for rule in job["podFailurePolicy"]["rules"]
            if "onExitCodes" in rule for name in [rule["onExitCodes"]["containerName"]]} == {
        container["name"]
    }  # fmt: skip
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def refused(service: str, operation: str, request: dict[str, Any]) -> str:
    """What botocore finds wrong with a request before it would be sent; empty for nothing."""
    session = pytest.importorskip("botocore.session").get_session()
    validate = pytest.importorskip("botocore.validate")
    shape = session.get_service_model(service).operation_model(operation).input_shape
    return str(validate.ParamValidator().validate(request, shape).generate_report())


def test_requests_to_aws_are_what_its_services_take() -> None:
    definition = json.loads(BATCH.read_text("utf-8"))
    schedule = json.loads(BATCH_SCHEDULE.read_text("utf-8"))
    assert refused("batch", "RegisterJobDefinition", definition) == ""
    assert "Unknown parameter" in refused("batch", "RegisterJobDefinition", {**definition, "x": 1})
    assert refused("scheduler", "CreateSchedule", schedule) == ""
    assert schedule["Target"]["Arn"].endswith("aws-sdk:batch:submitJob")
    # The scheduler writes the first letters of names in capitals.
    submitted = {
        k[0].lower() + k[1:]: v for k, v in json.loads(schedule["Target"]["Input"]).items()
    }
    submitted["arrayProperties"] = {"size": submitted["arrayProperties"]["Size"]}
    assert refused("batch", "SubmitJob", submitted) == ""
    assert submitted["jobDefinition"] == definition["jobDefinitionName"]


def test_a_job_of_aws_is_tried_again_when_that_helps_and_ends_before_it_is_killed() -> None:
    definition = json.loads(BATCH.read_text("utf-8"))
    rules = definition["retryStrategy"]["evaluateOnExit"]
    again = [r["onExitCode"] for r in rules if r["action"] == "RETRY" and "onExitCode" in r]
    assert again == ["75", "130", "137"]
    assert rules[-1] == {"onReason": "*", "action": "EXIT"}  # what no rule has is tried again
    given = dict(
        w.removeprefix("--").split("=") for w in words_of_commands()["aws-batch"] if "=" in w
    )
    hours, minutes, _ = map(int, given["walltime"].split(":"))
    assert (hours * 60 + minutes) * 60 < definition["timeout"]["attemptDurationSeconds"]
    assert int(given["grace"]) < 30  # from SIGTERM to SIGKILL
    cores = {
        r["type"]: r["value"] for r in definition["containerProperties"]["resourceRequirements"]
    }
    assert cores["VCPU"] == given["threads"]
    (mounted,) = definition["containerProperties"]["mountPoints"]
    assert definition["containerProperties"]["readonlyRootFilesystem"]
    assert mounted["containerPath"] == "/" + "tmp"


def fake(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a script as a job of Slurm, with an rsscale that ends as it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    fake(folder, "scontrol", f'echo "$@" >> {tmp_path}/asked')

    started = []

    def start(script: Path, rsscale: str, *words: str, **env: str) -> subprocess.Popen[str]:
        fake(folder, "rsscale", f'echo "$@" > {tmp_path}/words\n{rsscale}')
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        shell = subprocess.Popen(
            ["bash", str(script), *words],
            env={"PATH": path, "SLURM_JOB_ID": "7", **env},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(shell)
        return shell

    yield start
    for shell in started:
        shell.kill()
        shell.wait()
        shell.stdout.close()
        shell.stderr.close()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("code", [0, 1, 2, 75, 130])
def test_a_job_of_slurm_is_requeued_when_there_is_more_to_do(
    job: Callable[..., Any], tmp_path: Path, script: Path, code: int
) -> None:
    ended = job(script, f"exit {code}", "r.yaml", "out", "--device", "cpu")
    assert ended.wait() == (0 if code == 75 else code)
    asked = tmp_path / "asked"
    assert asked.exists() == (code == 75)
    if code == 75:
        assert asked.read_text() == "requeue 7\n"
    words = (tmp_path / "words").read_text().split()
    assert words[:4] == ["run", "r.yaml", "--out", "out"]
    assert words[-2:] == ["--device", "cpu"]


def test_the_last_job_of_an_array_requeues_itself_alone(
    job: Callable[..., Any], tmp_path: Path
) -> None:
    """Its number is that of the array: by it Slurm would requeue all."""
    array = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "1"}
    job(SCHEDULE / "slurm-array.sh", "exit 75", "r.yaml", "out", **array).wait()
    assert (tmp_path / "asked").read_text() == "requeue 7_3\n"


@pytest.mark.parametrize(("index", "posts"), [("1", True), ("2", False)])
def test_the_first_of_an_array_alone_posts_to_the_webhook(
    job: Callable[..., Any], index: str, posts: bool
) -> None:
    array = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": index, "SLURM_ARRAY_TASK_MIN": "1"}
    said = 'echo "hook: $RSSCALE_WEBHOOK"'
    ended = job(SCHEDULE / "slurm-array.sh", said, "r", "o", RSSCALE_WEBHOOK="https://x", **array)
    assert ("https://x" in ended.communicate()[0]) == posts


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_sigterm_lets_rsscale_finish_its_tiles(job: Callable[..., Any], script: Path) -> None:
    """`scancel` sends it to all processes of a job, also to the shell, which must not go first."""
    program = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(130)); "
        'print("ready", flush=True); time.sleep(60)'
    )
    wait = f"exec {sys.executable} -c {shlex.quote(program)}"
    shell = job(script, wait, "r.yaml", "out")
    assert shell.stdout.readline() == "ready\n"
    shell.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert shell.poll() is None  # waits for rsscale
    children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    assert shell.wait(20) == 130


def test_a_script_without_words_says_how_it_is_used(job: Callable[..., Any]) -> None:
    for script in SCRIPTS:
        ended = job(script, "exit 0")
        assert "usage: sbatch" in ended.communicate()[1]
        assert ended.returncode != 0


def test_alive(tmp_path: Path) -> None:
    beat = tmp_path / "heartbeat"

    def alive(minutes: str = "30") -> int:
        words = ["sh", str(CONTAINER / "rsscale-alive"), str(beat), minutes]
        return subprocess.run(words, check=False, capture_output=True).returncode

    assert alive() == 0  # not begun
    beat.write_text("{}")
    assert alive() == 0
    os.utime(beat, (time.time() - 3000, time.time() - 3000))
    assert alive() == 1
    assert alive("60") == 0


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The flow's file, with a Prefect that does nothing."""
    import importlib.util

    prefect = types.ModuleType("prefect")
    plain = lambda **_: lambda function: function  # noqa: E731
    prefect.flow, prefect.task, prefect.get_run_logger = plain, plain, None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "prefect", prefect)
    spec = importlib.util.spec_from_file_location("prefect_flow", SCHEDULE / "prefect_flow.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_flow_goes_on_until_the_run_is_done(
    flow: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = json.dumps({"level": "warning", "message": "slow"})
    fake(tmp_path, "rsscale", f"""echo "$@" >> {tmp_path}/words; echo '{line}' >&2; echo bare >&2
        [ $(wc -l < {tmp_path}/words) -ge 3 ] || exit 75""")  # fmt: skip
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    logged = []
    flow.update_until_done("r.yaml", "out", ["--threads", "2"], lambda *entry: logged.append(entry))
    words = (tmp_path / "words").read_text().splitlines()
    assert words == ["run r.yaml --out out --update --log-format json --threads 2"] * 3
    assert logged == [(30, "slow"), (30, "bare")] * 3


@pytest.mark.parametrize(("code", "again"), [(1, False), (2, False), (130, True), (137, True)])
def test_the_flow_tries_again_after_a_kill_and_not_after_a_mistake(
    flow: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, again: bool
) -> None:
    fake(tmp_path, "rsscale", f"echo 'error: no such recipe' >&2; exit {code}")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(flow.UpdateError, match=f"exit code {code}: error: no such recipe") as found:
        flow.update_until_done("r.yaml", "out", [], lambda *_: None)
    assert found.value.needs_a_person is not again


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_units_are_sound(tmp_path: Path) -> None:
    program = tmp_path / "rsscale"
    fake(tmp_path, "rsscale", "")
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/rsscale/bin/rsscale", str(program))
        (tmp_path / unit.name).write_text(text)
    words = ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no"]
    units = [str(tmp_path / unit.name) for unit in UNITS]
    done = subprocess.run([*words, *units], check=False, capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "rsscale" in line]
    assert ours == [], done.stderr
    assert done.returncode == 0, done.stderr


def test_the_image_is_not_of_root_is_checked_and_names_no_host() -> None:
    text = (CONTAINER / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    images = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert images == ["${BASE}", "${BASE}"]
    assert [line for line in lines if line.startswith("USER")][-1] == "USER 10001:10001"
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert not re.search(r"https?://|index-url", text)


def test_all_that_the_image_copies_is_let_in() -> None:
    """An ignored file is missed when an image is built, which no other test does."""
    text = (CONTAINER / "Dockerfile").read_text("utf-8")
    copied = {
        word
        for line in text.splitlines()
        if line.startswith("COPY") and "--from" not in line
        for word in line.split()[1:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_the_lock_for_cpus_keeps_versions_and_drops_the_hashes_of_torch_alone() -> None:
    text = (CONTAINER / "Dockerfile").read_text("utf-8")
    (program,) = re.findall(r"awk '([^']+)'", text)
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    done = subprocess.run(["awk", program], input=lock, capture_output=True, text=True, check=True)
    (torch,) = re.findall(r"^(torch==\S+)", lock, re.MULTILINE)
    assert f"\n{torch}\n" in done.stdout
    names = re.compile(r"^([a-z0-9][^=\s]*==\S+)", re.MULTILINE)
    assert names.findall(done.stdout) == names.findall(lock)
    dropped = len(re.findall("--hash", lock)) - len(re.findall("--hash", done.stdout))
    of_torch = re.findall(r"^torch(?:vision)?==[^\n]*\n(?: [^\n]*\n)+", lock, re.MULTILINE)
    assert dropped == sum(block.count("--hash") for block in of_torch) > 0
