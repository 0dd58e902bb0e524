"""`streamproc ingest`, put together from what the command line and the environment say."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import orjson

from streamproc.gateway.observer import peppers
from streamproc.health import HealthServer
from streamproc.ingest import mapping, otlp_protobuf, sources
from streamproc.ingest.accounts import Accounts
from streamproc.ingest.formats import FORMATS
from streamproc.ingest.mail import Mail
from streamproc.ingest.maker import Maker
from streamproc.ingest.metrics import Metrics
from streamproc.ingest.networks import Networks
from streamproc.ingest.parsing import parse
from streamproc.ingest.receiver import Receiver, address_of
from streamproc.ingest.refresh import Refreshed
from streamproc.ingest.report import Report, expected
from streamproc.ingest.sinks import FileSink, KafkaSink, UnavailableError
from streamproc.ingest.stage import Stage, given_up
from streamproc.lines import InputError, open_lines
from streamproc.serving import quiet_logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamproc.ingest.record import Format
    from streamproc.settings import Settings

__all__ = ["Options", "run"]

OTLP_JSON: Final = b"{"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line: one of `inputs`, `from_topic` and `listen` says where records come from."""

    format: str
    inputs: tuple[Path, ...] = ()
    from_topic: str | None = None
    listen: str | None = None
    output: Path | None = None
    map: Path | None = None
    accounts: Path | None = None
    accounts_topic: str | None = None
    networks: Path | None = None
    dead: Path | None = None
    report: str | None = None


def run(options: Options, settings: Settings) -> int:
    """Ingest to the end of the files, or until told to stop (INT, TERM); returns the exit code.

    Raises:
        InputError: a file cannot be read or written, or options do not go together.
        SettingsError: a setting, brokers, a topic or an address: which, and what to do.
    """
    quiet_logs()
    _go_together(options)
    return asyncio.run(_Ingest(options, settings).run())


def _go_together(options: Options) -> None:
    given = sum(bool(one) for one in (options.inputs, options.from_topic, options.listen))
    to_stdout = options.output is not None and str(options.output) == "-"
    for wrong, why in (
        (given != 1, "give one of --input, --from-topic and --listen"),
        (options.accounts and options.accounts_topic, "give one of --accounts and --accounts-topic"),
        (options.report and to_stdout, "--report json and --output - both write to standard output"),
        (
            options.listen and FORMATS[options.format].half is not None,
            f"--listen: {options.format} logs a request in two records, which a kill would part: use --from-topic",
        ),
    ):
        if wrong:
            raise InputError(why)


class _Lists:
    """What a folder of lists says, of networks and of e-mail domains."""

    def __init__(self, folder: Path) -> None:
        self.networks = Networks(folder)
        self.mail = Mail(folder)


class _Ingest:
    """One run."""

    def __init__(self, options: Options, settings: Settings) -> None:
        self._options = options
        self._settings = settings
        self._format: Format = FORMATS[options.format]
        self._mapping = mapping.read(options.map)
        self._report = Report(options.format)
        self._metrics = Metrics()
        self._lists = Refreshed(options.networks, _Lists, say) if options.networks else None
        self._mail = Mail(None)
        self._maker = Maker(self._format, peppers(settings.gateway), self._mapping, self._table, self._networks)
        self._accounts: Accounts | Refreshed[Accounts] = (
            Refreshed(options.accounts, self._read_accounts, say) if options.accounts else self._no_accounts()
        )
        self._refreshed = [one for one in (self._lists, self._accounts) if isinstance(one, Refreshed)]

    def _table(self) -> Accounts:
        return self._accounts.value if isinstance(self._accounts, Refreshed) else self._accounts

    def _no_accounts(self) -> Accounts:
        return Accounts(self._maker.identity, lambda email: self._latest_mail().class_of(email))

    def _latest_mail(self) -> Mail:
        return self._lists.value.mail if self._lists else self._mail

    def _networks(self) -> Networks | None:
        return self._lists.value.networks if self._lists else None

    def _read_accounts(self, path: Path) -> Accounts:
        accounts = self._no_accounts()
        accounts.take(path)
        ignored = f", {accounts.ignored:,} cells that are not valid" if accounts.ignored else ""
        say(f"{path}: {len(accounts):,} accounts{ignored}")
        return accounts

    async def run(self) -> int:
        options = self._options
        table = bool(options.accounts or options.accounts_topic)
        for line in expected(
            self._format,
            self._mapping,
            table=table,
            networks=self._lists.value.networks.gives if self._lists else set(),
        ):
            say(line)
        async with AsyncExitStack() as stack:
            files = stack.enter_context(ExitStack())
            kafka, topics = self._settings.kafka, self._settings.topics
            if options.accounts_topic:
                await stack.enter_async_context(sources.AccountsTopic(kafka, options.accounts_topic, self._table()))
                say(f"{options.accounts_topic}: {len(self._table()):,} accounts")
            sink = FileSink(options.output) if options.output else KafkaSink(kafka, topics.requests)
            await stack.enter_async_context(sink)
            dead = _dead(options.dead, files, again=not options.inputs)
            refused = self._report.refused
            stage = Stage(self._maker, sink, self._decoder(), dead, refused, self._metrics, self._refresh)
            await self._work(stage)
        self._tell()
        return 0

    async def _work(self, stage: Stage) -> None:
        options, stop = self._options, asyncio.Event()
        if options.inputs:
            try:
                await sources.files(list(options.inputs), stage)
            except UnavailableError as reason:
                raise given_up(reason, sources.PATIENCE_S) from reason
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        if options.from_topic:
            health = HealthServer(
                self._settings.http_host, self._settings.http_port, metrics=self._metrics,
                healthy=lambda: None, ready=lambda: None,
            )  # fmt: skip
            await health.start()
            try:
                await sources.topic(self._settings.kafka, options.from_topic, stage, stop)
            finally:
                await health.stop()
        elif options.listen:
            token = self._settings.ingest_token
            receiver = Receiver(stage, otlp=options.format == "otlp", token=token)
            await receiver.serve(*address_of(options.listen, token), stop, say)

    def _decoder(self) -> Callable[[bytes], Any]:
        """JSON, and in a topic of spans protobuf too, which is what collectors write there."""
        if self._options.format != "otlp" or not self._options.from_topic or not otlp_protobuf.available():
            return parse
        return lambda message: parse(message) if message[:1] == OTLP_JSON else otlp_protobuf.decode(message)

    def _refresh(self) -> None:
        for one in self._refreshed:
            one.refresh()

    def _tell(self) -> None:
        for line in self._report.lines(self._maker):
            say(line)
        if self._options.report:
            with suppress(BrokenPipeError):
                sys.stdout.buffer.write(orjson.dumps(self._report.to_dict(self._maker), option=orjson.OPT_INDENT_2))
                sys.stdout.buffer.write(b"\n")
                sys.stdout.flush()


def say(text: str) -> None:
    """Tell the operator."""
    print(f"ingest: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the command's own voice


def _dead(path: Path | None, files: ExitStack, *, again: bool) -> IO[bytes] | None:
    """The file of dead letters; what runs until it is told to stop adds to it when it comes `again`."""
    return files.enter_context(open_lines(path, "ab" if again else "wb")) if path else None
