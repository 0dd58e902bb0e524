"""What is joined: the accounts table, networks, e-mail domains; and the map file that says what lies elsewhere."""

from __future__ import annotations

import gzip
import ipaddress
import random
from pathlib import Path

import pytest

from streamproc.ingest import mapping, networks
from streamproc.ingest.accounts import Accounts
from streamproc.ingest.mail import Mail
from streamproc.ingest.networks import Networks, Ranges
from streamproc.ingest.record import Json
from streamproc.ingest.refresh import Refreshed
from streamproc.lines import InputError
from tests.ingest.world import FIXTURES, RECORDS, VALID, events, maker

LISTS = FIXTURES
needs_lists = pytest.mark.skipif(not LISTS.is_dir(), reason="no ../shared/fixtures beside the project")


def table(*rows: Json, lists: Path | None = None) -> Accounts:
    made = Accounts(maker("kong").identity, Mail(lists).class_of)
    for row in rows:
        assert made.put(row)
    return made


# -- accounts ------------------------------------------------------------------------------------------


def test_an_account_brings_what_no_gateway_knows() -> None:
    accounts = table(
        {
            "account": "c-9",
            "payer": "4000-12",
            "device": "d1",
            "signup": "2026-11-01",
            "plan": "Pro",
            "program": "research",
            "email": "Ann.Lee@Uni.EDU",
            "org": "o1",
            "quota_rpm": "60",
        },
        {"account": "other", "plan": "free"},
    )
    made = maker("kong", table=accounts)
    [event] = events(made, *RECORDS["kong"])
    VALID.validate(event)
    expected = {
        "payer": made.identity("payer", "4000-12"),
        "device": made.identity("device", "d1"),
        "signup_ms": 1793491200000,
        "plan": "pro",
        "program": "research",
        "email_domain": made.identity("email_domain", "uni.edu"),
        "email_class": "education",
        "org": made.identity("org", "o1"),
        "quota_rpm": 60.0,
    }
    assert event.items() >= expected.items()
    assert accounts.ignored == 0


def test_the_table_counts_before_the_record_and_a_constant_after_it(tmp_path: Path) -> None:
    said = tmp_path / "map.toml"
    said.write_text('[constants]\nplan = "free"\nregion = "EU West"\n')
    gateway, models = RECORDS["apim"][1] | {"Region": None}, RECORDS["apim"][0] | {"Region": None}
    plain = maker("apim", mapping.read(said))
    joined = maker("apim", mapping.read(said), table({"account": "sub-1", "plan": "enterprise"}))
    [own], [known] = events(plain, gateway, models), events(joined, gateway, models)
    assert [own["plan"], known["plan"]] == ["pro", "enterprise"]
    assert own["region"] == "eu-west"


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz"])
def test_a_table_comes_as_csv_or_json_lines(suffix: str, tmp_path: Path) -> None:
    lines = b"account,plan,signup\na1,pro,2026-11-01\na2,,soon\n"
    if "jsonl" in suffix:
        lines = b'{"account":"a1","plan":"pro","signup":"2026-11-01"}\n\n{"account":"a2","signup":"soon"}\n'
    path = tmp_path / f"accounts{suffix}"
    path.write_bytes(gzip.compress(lines) if suffix.endswith(".gz") else lines)
    accounts = table()
    accounts.take(path)
    assert (len(accounts), accounts.ignored) == (2, 1)
    assert accounts.get("a1") == {"signup_ms": 1793491200000, "plan": "pro"}
    assert accounts.get("a2") == accounts.get("a3") == {}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "name,plan\na1,pro\n", "no column account"),
        ("a.csv", "account,plan\n,pro\n", "a.csv:2: names no account"),
        ("a.jsonl", '{"account":"a"}\n{"plan":"pro"}\n', "a.jsonl:2: names no account"),
        ("a.jsonl", "{\n", "not JSON"),
        ("a.csv.gz", "no gzip", "a.csv.gz: "),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_its_line(name: str, text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=why):
        table().take(tmp_path / name)


def test_e_mail_domains_have_a_class(tmp_path: Path) -> None:
    (tmp_path / "disposable_email_domains.csv").write_text("domain\nthrow.example\n")
    knows, plain = Mail(tmp_path), Mail(None)
    for email, expected in (
        ("a@GMail.com", "public"),
        ("a@x.throw.example", "disposable"),
        ("a@cs.ox.ac.uk", "education"),
        ("a@mit.edu", "education"),
        ("a@firm.example", "corporate"),
        ("firm.example", "corporate"),
        ("nothing", ""),
    ):
        assert knows.class_of(email) == expected
    assert plain.class_of("a@firm.example") == "unknown"


# -- networks ------------------------------------------------------------------------------------------


def test_the_narrowest_network_counts() -> None:
    ranges = Ranges(
        [(0, 99, "wide"), (10, 19, "narrow"), (12, 12, "one"), (20, 29, "next"), (200, 210, "far"), (0, 99, "wide")]
    )
    expected = {
        0: "wide",
        9: "wide",
        10: "narrow",
        12: "one",
        13: "narrow",
        20: "next",
        30: "wide",
        99: "wide",
        100: "",
        199: "",
        200: "far",
        211: "",
    }
    assert {at: ranges.find(at) for at in expected} == expected


def test_ranges_say_what_a_search_through_all_networks_says() -> None:
    draw = random.Random(7)  # noqa: S311 - a test's own
    nets = []
    for _ in range(300):
        width = draw.choice([0, 1, 2, 4, 8])
        first = draw.randrange(4096) >> width << width
        nets.append((first, first + (1 << width) - 1, draw.choice("abc")))
    nets = list({(first, last): (first, last, value) for first, last, value in nets}.values())
    ranges = Ranges(nets)
    for at in range(4200):
        around = [(last - first, value) for first, last, value in nets if first <= at <= last]
        assert ranges.find(at) == (min(around)[1] if around else "")


def test_lists_give_class_and_country(tmp_path: Path) -> None:
    for name, text in {
        "class_cidrs.csv": "cidr,class\n198.51.100.0/24,residential\n",
        "vpn_cidrs.csv": "cidr\n198.51.0.0/16\n",
        "cloud_cidrs.csv": "cidr,provider\n198.51.0.0/17,x\n2001:db8::/32,x\n",
        "asn_cidrs.csv": "cidr,asn\n203.0.113.0/24,AS64500\n192.0.2.0/24,64501\n",
        "hosting_asns.csv": "asn,list\n64500,vpn\n",
        "country_cidrs.csv": "cidr,country\n203.0.0.0/8,de\n",
        "notes.txt": "no list",
    }.items():
        (tmp_path / name).write_text(text)
    lists = Networks(tmp_path)
    for address, expected in {
        "198.51.100.4": {"asn_class": "residential"},
        "198.51.1.1": {"asn_class": "vpn"},
        "2001:db8::1": {"asn_class": "hosting"},
        "203.0.113.9": {"asn_class": "vpn", "country": "DE"},
        "192.0.2.1": {"asn_class": "unknown"},
        "::ffff:198.51.1.1": {"asn_class": "vpn"},
        "no address": {},
    }.items():
        assert lists.look(address) == expected
    [event] = events(maker("kong", lists=tmp_path), *RECORDS["kong"])
    VALID.validate(event)
    assert (event["asn_class"], event["country"]) == ("vpn", "DE")


@needs_lists
def test_the_real_lists_are_read_and_found() -> None:
    lists = Networks(LISTS)
    assert lists.gives == {"asn_class"}
    for file, expected in (("vpn_cidrs.csv.gz", "vpn"), ("cloud_cidrs.csv.gz", "hosting")):
        rows = [ipaddress.ip_network(row["cidr"]) for _, row in networks.rows_of(LISTS / file, "cidr")]
        found = {lists.look(str(one.network_address))["asn_class"] for one in rows[::50]}
        found |= {lists.look(str(one[-1]))["asn_class"] for one in rows[::50] if one.version == 4}
        assert found - {"vpn"} == {expected} - {"vpn"}, "a network in both lists is a VPN's"
        assert expected in found
    assert lists.look("127.0.0.1") == {"asn_class": "unknown"}
    domains = [row["domain"] for _, row in networks.rows_of(LISTS / "disposable_email_domains.csv.gz", "domain")]
    assert {Mail(LISTS).class_of(f"x@{domain}") for domain in domains[::100]} == {"disposable"}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("vpn_cidrs.csv", "cidr\n10.0.0.0/33\n", "vpn_cidrs.csv:2: "),
        ("vpn_cidrs.csv", "network\n", "no column cidr"),
        ("class_cidrs.csv", "cidr,class\n10.0.0.0/8,evil\n", "'evil' is no class"),
        ("odd.csv", "cidr\n", "no list in"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(name: str, text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=why):
        Networks(tmp_path)


def test_a_changed_list_is_read_again_and_a_broken_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.ingest.refresh.EVERY_S", 0.0)
    file = tmp_path / "vpn_cidrs.csv"
    said: list[str] = []
    file.write_text("cidr\n10.0.0.0/8\n")
    lists = Refreshed(tmp_path, Networks, said.append)
    lists.refresh()
    assert not said
    assert lists.value.look("11.0.0.1") == {"asn_class": "unknown"}
    file.write_text("cidr\n10.0.0.0/8\n11.0.0.0/8\n")
    lists.refresh()
    assert lists.value.look("11.0.0.1") == {"asn_class": "vpn"}
    file.write_text("cidr\nbroken again\n")
    lists.refresh()
    lists.refresh()
    assert lists.value.look("11.0.0.1") == {"asn_class": "vpn"}
    assert ["read again" in said[0], "what was known before stays" in said[1], len(said)] == [True, True, 2]


# -- the map file --------------------------------------------------------------------------------------


def test_a_map_file_says_where_things_lie(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(
        '[fields]\naccount = ["request/headers/x-account", "consumer/id"]\nplan = "request/headers/x-tier"\n'
        'error = "verdict"\n[values.plan]\n"Tier 2" = "pro"\n[values.error]\n"no" = "blocked"\n'
        '[constants]\npathway = "web"\n'
    )
    record = RECORDS["kong"][0] | {"verdict": "no"}
    record["request"] = record["request"] | {"headers": {"x-account": ["h-1", "h-2"], "x-tier": "Tier 2"}}
    made = maker("kong", mapping.read(path))
    [event] = events(made, record)
    assert event["account"] == made.identity("account", "h-1")
    assert (event["plan"], event["pathway"], event["error"]) == ("pro", "web", "blocked")
    [without] = events(made, RECORDS["kong"][0])
    assert without["account"] == made.identity("account", "c-9")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[fields", "no TOML"),
        ("[feilds]\n", "feilds: no such field: one of fields, constants, values"),
        ('[fields]\nacount = "a"\n', "fields.acount: no such field"),
        ('[fields]\ntemplate_fp = "prompt"\n', "fields.template_fp: fingerprints are made here"),
        ("[fields]\naccount = 7\n", "fields.account: must be a place"),
        ("[fields]\naccount = []\n", "fields.account: must be a place"),
        ('[fields]\naccount = "/"\n', "fields.account: must be a place"),
        ('[constants]\naccount = "a"\n', "constants.account: an identity that all records share"),
        ("[constants]\nstatus = 99\n", "constants.status: 99 is not valid there"),
        ('[values.plan]\na = "not a plan!"\n', "values.plan: 'not a plan!' is not valid there"),
        ('[values]\nplan = "pro"\n', "values.plan: must be a table"),
        ("fields = 3\n", "fields: must be a table"),
    ],
)
def test_a_wrong_map_file_is_refused_with_key_and_reason(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        mapping.read(path)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
