"""What the stack writes: configuration of every part, state, ports."""

from __future__ import annotations

import configparser
import json
import stat
import time
from dataclasses import replace
from pathlib import Path
from string import Template

import pytest

from core import settings as core_settings
from stack import (
    StackError,
    StackOptions,
    cache,
    download_key,
    edge,
    mariadb,
    ports,
    seaweed,
    settings,
    state,
    supervision,
)
from stack.options import ALL_PARTS, RUN_DIR_CHARS_MAX, RunFolder
from stack.platform_processes import port_names
from stack.state import State
from stack.supervision import Program


def free(_port: int) -> bool:
    return True


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.fixture
def current() -> State:
    options = StackOptions(servers=2, workers=1)
    chosen = ports.pick([*ports.USUAL, *port_names(options)], remembered={}, free=free)
    return State(options=options, ports=chosen, secrets=state.new_secrets())


def options_of(folder: RunFolder, node: str) -> dict[str, str]:
    """What mariadbd would read for a node: my.cnf, then role.cnf."""
    values: dict[str, str] = {}
    for name in ("my.cnf", "role.cnf"):
        text = (folder.mysql(node) / name).read_text().replace("!include", "# include")
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
        values |= dict(parser["mariadbd"])
    return values


# --- ports ------------------------------------------------------------------------------------------------------


def test_ports_are_the_usual_ones_where_free() -> None:
    assert ports.pick(["mysql-1", "server-2", "worker-1-metrics"], remembered={}, free=free) == {
        "mysql-1": 13306,
        "server-2": 15052,
        "worker-1-metrics": 15251,
    }


def test_a_taken_port_is_replaced_and_a_remembered_one_preferred() -> None:
    chosen = ports.pick(["redis", "s3"], remembered={"s3": 25_000}, free=lambda port: port != 16379)
    assert chosen["redis"] in ports.OTHERS
    assert chosen["s3"] == 25_000


def test_no_port_is_given_twice() -> None:
    names = [*ports.USUAL, *port_names(StackOptions(servers=64, workers=64))]
    chosen = ports.pick(names, remembered={"redis": 13306, "s3": 13306}, free=free)
    assert len(set(chosen.values())) == len(names)


def test_without_a_free_port_the_name_is_told() -> None:
    with pytest.raises(StackError, match="redis"):
        ports.pick(["redis"], remembered={}, free=lambda _: False)


def test_two_stacks_starting_at_once_get_different_ports(tmp_path: Path) -> None:
    book = tmp_path / "book.json"
    mine = ports.reserve(["redis", "s3"], owner="/a", remembered={}, book_path=book)
    others = ports.reserve(["redis", "s3"], owner="/b", remembered={}, book_path=book)
    assert not set(mine.values()) & set(others.values())
    assert ports.reserve(["redis", "s3"], owner="/a", remembered=mine, book_path=book) == mine


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"16379": 5}', '{"x": [1, "a"]}'])
def test_a_damaged_book_of_reservations_counts_as_empty(tmp_path: Path, text: str) -> None:
    book = tmp_path / "book.json"
    book.write_text(text)
    chosen = ports.reserve(["redis"], owner="/a", remembered={}, book_path=book)
    assert json.loads(book.read_text()) == {str(chosen["redis"]): [pytest.approx(time.time(), abs=120), "/a"]}


def test_an_old_reservation_ends(tmp_path: Path) -> None:
    book = tmp_path / "book.json"
    book.write_text(json.dumps({"23456": [time.time() - 1, "/gone"]}))
    assert ports.reserve(["redis"], owner="/a", remembered={"redis": 23456}, book_path=book) == {"redis": 23456}


# --- options and state ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [{"servers": -1}, {"workers": 65}, {"envoy_threads": 0}, {"parts": frozenset({"kafka"})}, {"redis_max_mib": 1}],
)
def test_impossible_options_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(StackError, match=next(iter(wrong)).removesuffix("s")):
        StackOptions(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_run_folder_too_deep_for_sockets_is_refused() -> None:
    with pytest.raises(StackError, match="--run-dir"):
        RunFolder(Path("/" + "x" * RUN_DIR_CHARS_MAX))


def test_state_survives_and_only_its_owner_reads_it(folder: RunFolder, current: State) -> None:
    state.save(folder, current)
    assert state.load(folder) == current
    assert stat.S_IMODE(folder.state.stat().st_mode) == 0o600
    assert json.loads(folder.ports.read_text()) == current.ports


def test_damaged_state_is_told_with_the_remedy(folder: RunFolder, current: State) -> None:
    assert state.load(folder) is None
    state.save(folder, current)
    folder.state.write_text(folder.state.read_text().replace('"primary"', '"first"'))
    with pytest.raises(StackError, match="remove"):
        state.load(folder)


# --- the settings file ------------------------------------------------------------------------------------------


def test_the_settings_file_is_what_servers_read(folder: RunFolder, current: State) -> None:
    settings.write_settings(folder, current)
    read = core_settings.load(folder.settings)
    assert read.mysql.primary == mariadb.address(current, "mysql-1")
    assert read.mysql.replicas == (mariadb.address(current, "mysql-2"),)
    assert read.mysql.password == current.secrets["mysql_app"]
    assert read.redis.url == cache.url(current)
    assert read.object_store.endpoint == seaweed.endpoint(current)
    assert stat.S_IMODE(folder.settings.stat().st_mode) == 0o600


def test_more_settings_are_taken_and_wrong_ones_told(folder: RunFolder, current: State) -> None:
    more = replace(current, options=replace(current.options, settings={"server": {"drain_wait_ms": 7}}))
    settings.write_settings(folder, more)
    assert core_settings.load(folder.settings).server.drain_wait_ms == 7
    wrong = replace(current, options=replace(current.options, settings={"server": {"speed": 7}}))
    with pytest.raises(StackError, match=r"server\.speed"):
        settings.write_settings(folder, wrong)


# --- MariaDB ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("primary", state.NODES[:2])
def test_both_nodes_are_durable_whatever_the_options(folder: RunFolder, current: State, primary: str) -> None:
    smallest = StackOptions(primary_pool_mib=16, replica_pool_mib=16, redis_max_mib=16, servers=0, workers=0)
    for node in current.nodes:
        mariadb.write_config(folder, replace(current, primary=primary, options=smallest), node)
        found = options_of(folder, node)
        assert found["innodb_flush_log_at_trx_commit"] == "1"
        assert found["sync_binlog"] == "1"
        assert found["innodb_doublewrite"] == "ON"
        assert found["rpl_semi_sync_master_wait_point"] == "AFTER_SYNC"
        assert found["rpl_semi_sync_master_wait_no_slave"] == "ON"
        assert int(found["rpl_semi_sync_master_timeout"]) > 100 * 365 * 86_400 * 1_000
        is_primary = node == primary
        assert (found["rpl_semi_sync_master_enabled"] == "ON") is is_primary
        assert (found["rpl_semi_sync_slave_enabled"] == "ON") is not is_primary
        assert (found["read_only"] == "ON") is not is_primary


def test_nodes_differ_only_in_place_and_role(folder: RunFolder, current: State) -> None:
    for node in current.nodes:
        mariadb.write_config(folder, current, node)
    first, second = (options_of(folder, node) for node in current.nodes)
    ours = {name for name in first if first[name].replace("mysql-1", "mysql-2") != second[name]}
    assert ours == {
        "server_id",
        "port",
        "innodb_buffer_pool_size",
        "read_only",
        "rpl_semi_sync_master_enabled",
        "rpl_semi_sync_slave_enabled",
    }


def test_users_are_kept_from_the_binary_log_and_from_other_readers(folder: RunFolder, current: State) -> None:
    mariadb.write_config(folder, current, "mysql-1")
    users = folder.mysql("mysql-1") / "users.sql"
    assert users.read_text().startswith("SET SESSION sql_log_bin = 0;")
    assert stat.S_IMODE(users.stat().st_mode) == 0o600


# --- supervisord and Envoy --------------------------------------------------------------------------------------


def test_supervisord_restarts_everything_and_marks_it(folder: RunFolder) -> None:
    program = Program(name="server-1", command=("/bin/echo", "100% sure", "--x"), environment={"A": "b c"})
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(supervision.render(folder, [program]))
    section = parser["program:server-1"]
    assert section["command"] == "/bin/echo '100%% sure' --x"
    assert section["environment"] == f'BILLOW_STACK_RUN_DIR="{folder.root}",A="b c"'
    assert section["autorestart"] == "true"
    assert section["stopsignal"] == "TERM"


def test_endpoints_name_every_server_and_mark_those_that_go(folder: RunFolder, current: State) -> None:
    fewer = replace(current, options=replace(current.options, servers=1))
    edge.write_endpoints(folder, fewer, draining=["server-2"])
    table = json.loads((folder.envoy / "endpoints" / "billow.json").read_text())
    found = {
        endpoint["endpoint"]["address"]["socket_address"]["port_value"]: endpoint["health_status"]
        for endpoint in table["resources"][0]["endpoints"][0]["lb_endpoints"]
    }
    assert found == {current.ports["server-1"]: "UNKNOWN", current.ports["server-2"]: "DRAINING"}


@pytest.mark.parametrize(
    ("web", "well"),
    [
        ({"eds_health_status": "HEALTHY"}, True),
        ({"eds_health_status": "DRAINING"}, False),  # it answers, and Envoy has not read yet that it is back
        ({"eds_health_status": "HEALTHY", "failed_active_health_check": True}, False),
        ({"eds_health_status": "HEALTHY", "pending_active_hc": True}, False),
    ],
)
def test_the_edge_is_well_when_it_would_send_to_all(
    monkeypatch: pytest.MonkeyPatch, current: State, web: dict[str, object], well: bool
) -> None:
    hosts: dict[str, list[dict[str, object]]] = {
        edge.CLUSTER: [{"eds_health_status": "HEALTHY"}] * 2,
        edge.WEB_CLUSTER: [web],
        "edge": [{}],
    }
    seen = [
        {"name": name, "host_statuses": [{"health_status": status} for status in statuses]}
        for name, statuses in hosts.items()
    ]
    told = {"clusters?format=json": json.dumps({"cluster_statuses": seen}), "ready": "LIVE"}
    monkeypatch.setattr(edge, "admin", lambda _state, path: told[path])
    assert edge.answers(current) is well


def test_web_processes_are_endpoints_of_their_own_cluster(folder: RunFolder, current: State) -> None:
    edge.write_endpoints(folder, current, draining=["server-2"])
    resource = json.loads((folder.envoy / "endpoints" / "web.json").read_text())["resources"][0]
    (endpoint,) = resource["endpoints"][0]["lb_endpoints"]
    assert resource["cluster_name"] == "web"
    assert endpoint["endpoint"]["address"]["socket_address"]["port_value"] == current.ports["web-1"]
    without = replace(current.options, parts=ALL_PARTS - {"envoy"})
    assert (without.web_count, replace(current.options, webs=3).web_count) == (0, 3)


def test_the_key_of_download_links_is_made_once_and_is_secret(folder: RunFolder, current: State) -> None:
    settings.write_settings(folder, current)
    (key,) = core_settings.load(folder.settings).downloads.link_keys
    file = download_key.path(folder)
    assert (key.id, key.secret) == (download_key.KEY_ID, file.read_bytes())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings.write_settings(folder, current)
    assert core_settings.load(folder.settings).downloads.link_keys == (key,)


def test_the_cache_is_off_but_where_whole_documents_are_downloaded(folder: RunFolder, current: State) -> None:
    text = edge.render(folder, current)
    filters, routes = text.split("route_config:")
    assert "- name: envoy.filters.http.cache\n            disabled: true\n" in filters
    turned_on = [route for route in routes.split("- name: ") if "envoy.filters.http.cache:" in route]
    assert [route.split()[0] for route in turned_on] == ["download"]
    order = [route.split()[0] for route in routes.split("- name: ")]
    assert order.index("download_part") < order.index("download")  # a part never reaches the cache
    assert f"max_cache_size_bytes: {edge.CACHE_BYTES_MAX}" in filters


def test_the_edge_uses_every_value_given_and_listens_on_loopback_only(folder: RunFolder, current: State) -> None:
    text = edge.render(folder, current)
    assert not Template(text).get_identifiers()
    assert f"port_value: {current.ports['envoy']}}}" in text
    assert f"port_value: {current.ports['envoy-admin']}}}" in text
    assert text.count("address: {socket_address: {address: 127.0.0.1,") == 2


def test_only_the_named_process_is_started_with_more(folder: RunFolder, current: State) -> None:
    from stack.system import Stack

    more = {"server-1": {"LD_PRELOAD": "a.so"}, "redis": {"LD_PRELOAD": "b.so"}}
    changed = replace(current, options=replace(current.options, environment=more))
    state.save(folder, changed)
    assert state.load(folder) == changed
    found = {program.name: program.environment for program in Stack(run_dir=folder.root)._programs(changed)}
    assert found["server-1"] == more["server-1"]
    assert set(found["redis"]) == {"LD_PRELOAD", "MALLOC_CONF"}
    assert {name for name, environment in found.items() if "LD_PRELOAD" in environment} == set(more)


def test_every_part_has_a_program(folder: RunFolder, current: State) -> None:
    from stack.system import Stack

    names = {program.name for program in Stack(run_dir=folder.root)._programs(current)}
    stores = {"mysql-1", "mysql-2", "redis", "s3"}
    assert names == {*stores, "server-1", "server-2", "worker-1", "web-1", "mail-1", "envoy"}
    assert current.options.parts == ALL_PARTS
