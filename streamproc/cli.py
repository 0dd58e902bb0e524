"""The command line.  Errors are one line with the fix and exit code 2; progress goes to standard error."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from streamproc.core.policy import Policy
    from streamproc.replay import Replayed

USAGE_ERROR = 2
PROGRESS_S = 0.5
SHOWN_LINES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    from streamproc.contract import PolicyError  # noqa: PLC0415 - importing numpy for --help would be slow
    from streamproc.explain import UnknownSubjectError  # noqa: PLC0415
    from streamproc.lines import InputError  # noqa: PLC0415
    from streamproc.settings import SettingsError  # noqa: PLC0415

    try:
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except (PolicyError, InputError, SettingsError, UnknownSubjectError) as error:
        print(f"streamproc: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="streamproc", description="Finds distillation campaigns in request events.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    simulate = commands.add_parser("simulate", help="write made-up traffic with its truth")
    simulate.set_defaults(command=_simulate)
    simulate.add_argument("--scenario", required=True, metavar="NAME")
    simulate.add_argument("--seed", type=int, required=True, metavar="N")
    simulate.add_argument("--accounts", type=int, default=2500, metavar="N", help="honest accounts (2500)")
    simulate.add_argument("--days", type=float, default=4.0, metavar="D")
    simulate.add_argument("--output", type=Path, metavar="FILE", help=".jsonl, .jsonl.gz or .jsonl.zst")
    simulate.add_argument("--truth", type=Path, metavar="FILE")
    simulate.add_argument("--to-kafka", action="store_true", help="send the events to the topic that KAFKA_* names")
    simulate.add_argument("--recent", action="store_true", help="with --to-kafka: moved by whole days, to end by now")

    replay = commands.add_parser("replay", help="run a file of events through the detector")
    replay.set_defaults(command=_replay)
    _input(replay)
    replay.add_argument("--output", type=Path, required=True, metavar="FILE", help="enforcement events")
    replay.add_argument("--campaigns", type=Path, metavar="FILE", help="campaign events")
    replay.add_argument("--rounds", type=Path, metavar="FILE", help="round events: what came near and was left alone")
    replay.add_argument("--dead", type=Path, metavar="FILE", help="messages that are no events")

    evaluate = commands.add_parser("evaluate", help="hold decisions against the truth")
    evaluate.set_defaults(command=_evaluate)
    evaluate.add_argument("--input", type=Path, required=True, metavar="FILE")
    evaluate.add_argument("--truth", type=Path, required=True, metavar="FILE")
    evaluate.add_argument("--decisions", type=Path, required=True, metavar="FILE")
    evaluate.add_argument("--json", action="store_true")

    _explanations(commands)
    _services(commands)

    _ingest_parser(commands.add_parser("ingest", help="make request events of what another gateway logs"))

    _demo_parser(commands.add_parser("demo", help="broker, made-up traffic and worker in one; shows what was found"))

    release = commands.add_parser("release", help="undo a wrong campaign: release all of its accounts")
    release.set_defaults(command=_release)
    release.add_argument("--campaign", required=True, metavar="ID")
    release.add_argument("--why", default="released by hand", metavar="TEXT", help="at most 512 characters")
    release.add_argument("--who", default=None, metavar="NAME", help="(the user's name)")

    policy = commands.add_parser("policy", help="work with policy files").add_subparsers(required=True, metavar="WORK")
    check = policy.add_parser("check", help="say whether a policy file can be used")
    check.set_defaults(command=_check_policy)
    check.add_argument("file", type=Path, metavar="FILE")
    return parser


def _explanations(commands: Any) -> None:
    explain = commands.add_parser("explain", help="say why something was decided about an account or a campaign")
    explain.set_defaults(command=_explain)
    explain.add_argument("subject", metavar="ACCOUNT|CAMPAIGN")
    source = explain.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", type=Path, metavar="FILE", help="request events, .jsonl[.gz|.zst], to replay")
    source.add_argument("--from-kafka", action="store_true", help="what the topics that KAFKA_* name hold now")
    _replayed(explain)
    form = explain.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument(
        "--html", type=Path, metavar="FILE", help="one page that needs nothing else; - is standard output"
    )


def _services(commands: Any) -> None:
    run = commands.add_parser("run", help="run the worker; settings come from the environment (KAFKA_*, ...)")
    run.set_defaults(command=_run_worker)
    run.add_argument("--owned", action="store_true", help="stop at the end of standard input")

    limiter = commands.add_parser("limiter", help="serve the verdicts over HTTP; settings as for run")
    limiter.set_defaults(command=_limiter)

    console = commands.add_parser("console", help="serve the analyst's page; settings as for run, and CONSOLE_*")
    console.set_defaults(command=_console)

    authz = commands.add_parser("authz", help="answer Envoy's ext_authz and forward-auth; settings as for run")
    authz.set_defaults(command=_authz)


def _demo_parser(demo: argparse.ArgumentParser) -> None:
    demo.set_defaults(command=_demo)
    demo.add_argument("--scenario", default="sync_pool", metavar="NAME", help="(sync_pool)")
    demo.add_argument("--seed", type=int, default=7, metavar="N", help="(7)")
    demo.add_argument("--accounts", type=int, default=1500, metavar="N", help="honest accounts (1500)")
    demo.add_argument("--days", type=float, default=3.0, metavar="D", help="(3)")
    demo.add_argument("--keep", type=Path, metavar="DIR", help="leave events, truth, decisions and logs there")


def _ingest_parser(ingest: argparse.ArgumentParser) -> None:
    ingest.set_defaults(command=_ingest)
    formats = ("litellm", "otlp", "envoy", "kong", "apisix", "bedrock", "apim")
    ingest.add_argument("--format", choices=formats, help="what wrote the records")
    ingest.add_argument(
        "--input", type=Path, nargs="+", default=[], metavar="FILE", help=".jsonl[.gz|.zst], - for stdin"
    )
    ingest.add_argument("--from-topic", metavar="TOPIC", help="read a Kafka topic, until stopped")
    ingest.add_argument("--listen", metavar="HOST:PORT", help="take POSTs, until stopped")
    ingest.add_argument("--output", type=Path, metavar="FILE", help="events, - for stdout (the topic of requests)")
    ingest.add_argument("--map", type=Path, metavar="FILE", help="map.toml: what lies elsewhere")
    ingest.add_argument("--accounts", type=Path, metavar="FILE", help="accounts table, .csv or .jsonl[.gz|.zst]")
    ingest.add_argument("--accounts-topic", metavar="TOPIC", help="the same as a compacted topic, keyed by account")
    ingest.add_argument("--networks", type=Path, metavar="DIR", help="lists of networks and of e-mail domains")
    ingest.add_argument("--dead", type=Path, metavar="FILE", help="records that have no event, raw")
    ingest.add_argument("--report", choices=["json"], help="the report at the end, on stdout")
    ingest.add_argument("--check", type=Path, metavar="FILE", help="only see that events hold no raw text")


def _input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", type=Path, required=True, metavar="FILE", help="events, .jsonl[.gz|.zst]")
    _replayed(parser)


def _replayed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", type=Path, metavar="FILE", help="policy.toml (the packaged one)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="label events, entered at their own times")
    parser.add_argument("--partitions", type=int, default=1, metavar="N", help="deal events out as Kafka would (1)")


def _simulate(options: argparse.Namespace) -> int:
    from streamproc.lines import InputError, write_lines  # noqa: PLC0415
    from streamproc.sim import scenario  # noqa: PLC0415

    _check_scenario(options.scenario)
    if options.to_kafka == bool(options.output) or not (options.to_kafka or options.truth):
        raise InputError("simulate needs either --output FILE and --truth FILE, or --to-kafka (and --truth if wanted)")
    if options.recent and (options.truth or not options.to_kafka):
        raise InputError("--recent goes with --to-kafka alone: what is written to files is the same at any time")
    _say(f"making {options.scenario} with seed {options.seed}")
    stream = scenario.simulate(options.scenario, seed=options.seed, accounts=options.accounts, days=options.days)
    try:
        if options.output:
            scenario.write(stream, options.output, options.truth)
        elif options.truth:
            write_lines(options.truth, map(orjson.dumps, stream.truth))
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error
    if options.to_kafka:
        now_ms = int(time.time() * 1000)
        _send(scenario.recent(stream.events, now_ms) if options.recent else stream.events)
    _say(f"{len(stream.events):,} events of {len(stream.truth):,} accounts")
    return 0


def _send(events: Iterable[dict[str, Any]]) -> None:
    """Send events to the topic `requests` of the brokers that the environment names."""
    import asyncio  # noqa: PLC0415

    from streamproc import settings  # noqa: PLC0415
    from streamproc.worker import topics  # noqa: PLC0415
    from streamproc.worker.feed import feed  # noqa: PLC0415

    told = settings.read()

    async def progress(sent: int) -> None:
        if sent and sent % 20_000 == 0:
            _say(f"{sent:,} events sent", end="\r")

    async def send() -> None:
        await topics.ensure(told)
        await feed(told.kafka, told.topics.requests, map(orjson.dumps, events), progress)

    asyncio.run(send())


def _check_scenario(name: str) -> None:
    from streamproc.lines import InputError  # noqa: PLC0415
    from streamproc.sim import scenario  # noqa: PLC0415

    if name not in scenario.SCENARIOS:
        raise InputError(f"no scenario {name!r}: choose one of {', '.join(scenario.SCENARIOS)}")


def _replay(options: argparse.Namespace) -> int:
    from streamproc.contract.decisions import encode  # noqa: PLC0415
    from streamproc.contract.rounds import encode_round  # noqa: PLC0415
    from streamproc.lines import write_lines  # noqa: PLC0415
    from streamproc.replay import encoded  # noqa: PLC0415

    dead: list[bytes] = []
    replayed = _run(options, dead)
    write_lines(options.output, encoded(replayed))
    if options.campaigns:
        write_lines(options.campaigns, map(encode, replayed.campaigns))
    if options.rounds:
        write_lines(options.rounds, map(encode_round, replayed.surveys))
    if options.dead:
        write_lines(options.dead, dead)
    for name, count in sorted(replayed.counts.items()):
        if name.startswith("bad:"):
            _say(f"{count:,} messages are no events: {name.removeprefix('bad:')}")
    return 0


def _run(options: argparse.Namespace, dead: list[bytes] | None = None) -> Replayed:
    """Replay the input of `options`, collecting dead letters as lines."""
    from streamproc.lines import InputError, open_lines  # noqa: PLC0415
    from streamproc.replay import dead_letter, read_labels, replay  # noqa: PLC0415

    if options.partitions < 1:
        raise InputError("--partitions must be 1 or more")
    policy = _policy(options.policy)
    labels = read_labels(options.labels) if options.labels else []
    started = time.monotonic()
    shown = started

    def progress(read: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= PROGRESS_S:
            shown = time.monotonic()
            _say(f"{read:,} events, {read / (shown - started):,.0f}/s", end="\r")

    with open_lines(options.input) as lines:
        try:
            replayed = replay(
                lines, policy, options.partitions, labels,
                observe=lambda seen: dead.extend(map(dead_letter, seen.dead)) if dead is not None else None,
                progress=progress,
            )  # fmt: skip
        except (EOFError, OSError) as error:
            raise InputError(f"{options.input}: {error}") from error
    read = replayed.counts["events"]
    _say(f"{read:,} events in {time.monotonic() - started:.1f} s, {len(replayed.enforcements):,} decisions")
    return replayed


def _evaluate(options: argparse.Namespace) -> int:
    from streamproc.sim.evaluate import evaluate_files  # noqa: PLC0415

    evaluation = evaluate_files(options.input, options.truth, options.decisions)
    _print_json(evaluation.to_dict()) if options.json else print(evaluation.text())
    return 0


def _explain(options: argparse.Namespace) -> int:
    from streamproc.explain import Gathered, explain, from_kafka  # noqa: PLC0415
    from streamproc.lines import InputError, write_lines  # noqa: PLC0415
    from streamproc.replay import read_labels  # noqa: PLC0415

    if options.from_kafka:
        from streamproc import settings  # noqa: PLC0415

        if options.policy or options.labels or options.partitions != 1:
            raise InputError("--policy, --labels and --partitions are for a replay: leave them out with --from-kafka")

        gathered = from_kafka(settings.read())
    else:
        replayed = _run(options)
        labels = read_labels(options.labels) if options.labels else []
        source = f"a replay of {options.input.name}"
        gathered = Gathered(source, None, replayed.enforcements, replayed.campaigns, labels, replayed.surveys[-1:])
    case = explain(options.subject, gathered)
    if options.html:
        write_lines(options.html, [case.html().encode()])
    else:
        _print_json(case.to_dict()) if options.json else print(case.text())
    return 0


def _run_worker(options: argparse.Namespace) -> int:
    from streamproc import settings  # noqa: PLC0415
    from streamproc.worker import app  # noqa: PLC0415

    return app.run(settings.read(), owned=options.owned)


def _limiter(_options: argparse.Namespace) -> int:
    from streamproc import settings  # noqa: PLC0415
    from streamproc.gateway import limiter  # noqa: PLC0415

    return limiter.run(settings.read())


def _console(_options: argparse.Namespace) -> int:
    from streamproc import settings  # noqa: PLC0415
    from streamproc.console import service  # noqa: PLC0415

    return service.run(settings.read())


def _authz(_options: argparse.Namespace) -> int:
    from streamproc import settings  # noqa: PLC0415
    from streamproc.gateway.authz import service  # noqa: PLC0415

    return service.run(settings.read())


def _ingest(options: argparse.Namespace) -> int:
    from streamproc import settings  # noqa: PLC0415
    from streamproc.ingest import checking  # noqa: PLC0415
    from streamproc.ingest.run import Options, run  # noqa: PLC0415
    from streamproc.lines import InputError  # noqa: PLC0415

    if options.check:
        wrong = 0
        for wrong, line in enumerate(checking.check(options.check), 1):
            if wrong <= SHOWN_LINES:
                print(line, file=sys.stderr)
        _say(f"{options.check}: {wrong:,} raw values" if wrong else f"{options.check}: no raw text")
        return USAGE_ERROR if wrong else 0
    if not options.format:
        raise InputError("ingest: --format says what wrote the records: see ingest --help")
    return run(
        Options(
            format=options.format, inputs=tuple(options.input), from_topic=options.from_topic, listen=options.listen,
            output=options.output, map=options.map, accounts=options.accounts, accounts_topic=options.accounts_topic,
            networks=options.networks, dead=options.dead, report=options.report,
        ),
        settings.read(),
    )  # fmt: skip


def _demo(options: argparse.Namespace) -> int:
    from streamproc.demo import Demo, demo  # noqa: PLC0415

    _check_scenario(options.scenario)
    return demo(Demo(options.scenario, options.seed, options.accounts, options.days, options.keep))


def _release(options: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415
    import getpass  # noqa: PLC0415

    from streamproc import settings  # noqa: PLC0415
    from streamproc.worker.release import release  # noqa: PLC0415

    who = options.who or getpass.getuser()
    told = settings.read()
    label, known = asyncio.run(release(told, options.campaign, who=who, why=options.why))
    print(
        f"campaign {options.campaign} was {known.state} with {known.members} members; "
        f"label {label.id} (lawful, by {who}) is on topic {told.topics.labels}: "
        "the worker clears the campaign and releases its accounts"
    )
    return 0


def _check_policy(options: argparse.Namespace) -> int:
    policy = _policy(options.file)
    print(f"{options.file}: can be used; version {policy.version}, mode {policy.mode}")
    return 0


def _policy(path: Path | None) -> Policy:
    from streamproc.core import policy  # noqa: PLC0415
    from streamproc.lines import InputError  # noqa: PLC0415

    if path is None:
        return policy.default()
    try:
        return policy.parse(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _print_json(data: dict[str, Any]) -> None:
    print(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())


def _say(text: str, end: str = "\n") -> None:
    print(f"\033[K{text}" if sys.stderr.isatty() else text, end=end if sys.stderr.isatty() else "\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
