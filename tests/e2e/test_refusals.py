# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input: one clear message with the thing, the cause and the way out, and nothing changed."""

import contextlib
import http.server
import socket
import ssl
import sys
import threading
import typing as t

import pytest

from ansible_collections.edge_encryption.clone.plugins.module_utils._run_journal import Journal
from ansible_collections.edge_encryption.clone.tests.e2e.bench import Bench, Row, wait_until
from edgelab.ca import Authority
from edgelab.demo_data import schedule_clone

Case = t.Callable[[Bench], t.ContextManager[Row]]


@pytest.fixture(scope="module")
def bench(shared: Bench) -> Bench:
    shared.fill(2)
    shared.schedule()
    return shared


# Each case puts something wrong in place and gives the variables to run with; what it changed is put back.


def given(**overrides: t.Any) -> Case:
    """Return a case that is nothing but wrong variables; a callable gets the bench."""

    @contextlib.contextmanager
    def case(bench: Bench) -> t.Iterator[Row]:
        yield {name: value(bench) if callable(value) else value for name, value in overrides.items()}

    return case


def instance(bench: Bench, side: str, **changes: str) -> Row:
    found = bench.lab["instances"][side]
    return {"host": found["url"], "username": found["username"], "password": found["password"], "ca_path": bench.lab["ca"], **changes}


def token_db(bench: Bench, side: str, **changes: t.Any) -> Row:
    db = bench.lab["token_db"][side]
    login = {"login_host": db["host"], "login_port": db["port"], "login_user": db["user"], "login_password": db["password"], "ca_cert": db["ca"]}
    return {**login, "database": db["database"], **changes}


def unused_port(_bench: t.Optional[Bench] = None) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def target_in_production(bench: Bench) -> t.Iterator[Row]:
    row = next(row for row in bench.raw("source", "instance") if row["instance_name"] == "acmetest")  # pylint: disable=stop-iteration-return
    bench.control("source", "POST", "/raw/instance", {"rows": [dict(row, production="true")]})
    yield {}
    bench.control("source", "POST", "/raw/instance", {"rows": [row]})


@contextlib.contextmanager
def clone_to_another_target(bench: Bench) -> t.Iterator[Row]:
    own = next(row for row in bench.raw("source", "instance") if row["instance_name"] == "acmetest")  # pylint: disable=stop-iteration-return
    other = dict(own, sys_id="0" * 32, instance_name="acmedev", instance_url="https://acmedev.example.com")
    bench.control("source", "POST", "/raw/instance", {"rows": [other]})
    number = schedule_clone(bench.lab, 3600, target_instance=other["sys_id"])
    yield {"edge_clone_number": number}
    request = next(row for row in bench.raw("source", "clone_instance") if row["clone_id"] == number)  # pylint: disable=stop-iteration-return
    bench.control("source", "DELETE", f"/raw/clone_instance/{request['sys_id']}")
    bench.control("source", "DELETE", f"/raw/instance/{other['sys_id']}")


def revoked(side: str, right: str, schema: str) -> Case:
    @contextlib.contextmanager
    def case(bench: Bench) -> t.Iterator[Row]:
        account = f"{bench.lab['token_db'][side]['user']}@'127.0.0.1'"
        bench.token_db(side).query(f"REVOKE {right} ON {schema} FROM {account}")
        yield {}
        bench.token_db(side).query(f"GRANT {right} ON {schema} TO {account}")

    return case


@contextlib.contextmanager
def instance_with_expired_certificate(bench: Bench) -> t.Iterator[Row]:
    cert, key = Authority(bench.folder / "lab" / "ca").server("expired", expired=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"edge_target_instance": instance(bench, "target", host=f"https://127.0.0.1:{server.server_port}")}
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def database_with_expired_certificate(bench: Bench) -> t.Iterator[Row]:
    """The server takes a certificate that has expired, as one does when nobody renews it."""
    authority = Authority(bench.folder / "lab" / "ca")
    good = [path.read_bytes() for path in authority.server("server")]
    bad = [path.read_bytes() for path in authority.server("expired", expired=True)]

    def take(contents: t.Sequence[bytes]) -> None:
        for path, content in zip(authority.server("server"), contents):
            path.write_bytes(content)
        bench.token_db("target").query("FLUSH SSL")

    take(bad)
    yield {}
    take(good)


@contextlib.contextmanager
def no_clone(bench: Bench) -> t.Iterator[Row]:
    bench.change_request(state="Canceled")
    yield {}
    bench.change_request(state="Scheduled")


@contextlib.contextmanager
def unknown_proxy(bench: Bench) -> t.Iterator[Row]:
    row = next(row for row in bench.raw("target", "sys_encryption_proxy") if row["name"] == "edge_target_3")  # pylint: disable=stop-iteration-return
    bench.control("target", "DELETE", f"/raw/sys_encryption_proxy/{row['sys_id']}")
    yield {}
    # It is online again with its next heartbeat.
    bench.control("target", "POST", "/raw/sys_encryption_proxy", {"rows": [dict(row, online="false")]})
    wait_until(lambda: all(row["online"] == "true" for row in bench.raw("target", "sys_encryption_proxy")))


@contextlib.contextmanager
def forgotten_proxy(bench: Bench) -> t.Iterator[Row]:
    left_out = bench.lab["proxies"]["target"].pop()
    yield {}
    bench.lab["proxies"]["target"].append(left_out)


@contextlib.contextmanager
def proxy_of_the_source(bench: Bench) -> t.Iterator[Row]:
    """A target proxy that is one of the source by what it serves."""
    properties = bench.proxies("target")[2] / "conf" / "edgeencryption.properties"
    text = properties.read_text()
    ports = [bench.lab["instances"][side]["url"].rpartition(":")[2] for side in ("target", "source")]
    assert text.count(f"edgeencryption.target.port = {ports[0]}") == 1
    properties.write_text(text.replace(f"edgeencryption.target.port = {ports[0]}", f"edgeencryption.target.port = {ports[1]}"))
    yield {}
    properties.write_text(text)


@contextlib.contextmanager
def held_target(bench: Bench) -> t.Iterator[Row]:
    """A target that another controller has begun to clone over, so that something else is not right either."""
    state = bench.folder / "held"
    Journal(str(state / "journal"), "acmetest").open(bench.number, "elsewhere:4711:1@0.0.0")
    yield {"edge_state_dir": str(state), "edge_target_token_db": token_db(bench, "target", login_port=unused_port())}


def without_rules(**changes: t.Any) -> Case:
    """Return a case of the signature option recreated, with a clone whose profile leaves something out."""

    @contextlib.contextmanager
    def case(bench: Bench) -> t.Iterator[Row]:
        bench.change_request(profile=bench.leave_rules_out(**changes))
        yield {"edge_signature_option": "recreated"}
        bench.change_request(profile="")
        for table in ("clone_profile_exclusions", "clone_profile_preservers"):
            for row in bench.raw("source", table):
                if row["profile"] == "c" * 32:
                    bench.control("source", "DELETE", f"/raw/{table}/{row['sys_id']}")

    return case


def users_replaced(**account: t.Any) -> Case:
    """Return a case of a clone that brings the users of the source, with an account to go on with afterwards, if any; a callable gets the bench."""

    @contextlib.contextmanager
    def case(bench: Bench) -> t.Iterator[Row]:
        bench.change_request(preserve_users_and_related_tables="false")
        login = {name: value(bench) if callable(value) else value for name, value in account.items()}
        yield {"edge_target_instance_after_clone": instance(bench, "target", **login)} if account else {}
        bench.change_request(preserve_users_and_related_tables="true")

    return case


@contextlib.contextmanager
def newer_source(bench: Bench) -> t.Iterator[Row]:
    row = next(row for row in bench.raw("source", "sys_properties") if row["name"] == "glide.buildname")  # pylint: disable=stop-iteration-return
    bench.control("source", "POST", "/raw/sys_properties", {"rows": [dict(row, value="Australia")]})
    yield {}
    bench.control("source", "POST", "/raw/sys_properties", {"rows": [row]})


@contextlib.contextmanager
def host_two_hours_behind(bench: Bench) -> t.Iterator[Row]:
    wrapper = bench.folder / "python"
    wrapper.write_text(f'#!/bin/sh\nexec faketime -f -2h {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    yield {"ansible_python_interpreter": "{{ '" + str(wrapper) + "' if inventory_hostname == 'edge_target_2' else ansible_playbook_python }}"}


CASES: t.Dict[str, t.Tuple[Case, t.Sequence[str]]] = {
    "unknown target": (given(edge_target_name="acmedev", edge_confirm_target="acmedev"), ["acmedev", "it knows acmeprod, acmetest", "Correct the name"]),
    "target is the source": (
        given(edge_target_name="acmeprod", edge_confirm_target="acmeprod", edge_target_instance=lambda bench: instance(bench, "source")),
        ["same instance", "edge_target_instance"],
    ),
    "address of the source under another name": (
        given(edge_target_instance=lambda bench: instance(bench, "source", host=bench.lab["instances"]["source"]["url"].replace("127.0.0.1", "localhost"))),
        ["is the instance acmeprod, not acmetest", "edge_target_instance"],
    ),
    "no clone requested": (no_clone, ["no open clone to acmetest", "Request it first"]),
    "production target": (target_in_production, ["acmetest", "production"]),
    "unconfirmed target": (given(edge_confirm_target=""), ["acmetest", "nothing was confirmed", "-e edge_confirm_target=acmetest"]),
    "wrongly confirmed target": (given(edge_confirm_target="acmeprod"), ["acmetest", "you confirmed acmeprod", "-e edge_confirm_target=acmetest"]),
    "target that another run holds": (held_target, ["target acmetest: is held by elsewhere:4711:1@0.0.0 for run acmetest/", "Wait for it"]),
    "unknown clone number": (given(edge_clone_number="CLONE9999999"), ["CLONE9999999", "Correct the number"]),
    "clone to another target": (clone_to_another_target, ["acmedev", "not to acmetest"]),
    "backup that has not ended": (
        given(edge_backup_time="2099-01-01 00:00:00"), ["2099-01-01", "tokens of the cloned instance would be missing", "proxies were not touched"]
    ),
    "source database unreachable": (given(edge_source_token_db=lambda bench: token_db(bench, "source", login_port=unused_port())), ["127.0.0.1", "refused"]),
    "target database unreachable": (given(edge_target_token_db=lambda bench: token_db(bench, "target", login_port=unused_port())), ["127.0.0.1", "refused"]),
    "wrong password of the source database": (
        given(edge_source_token_db=lambda bench: token_db(bench, "source", login_password="wrong-password")), ["edge_clone_read", "denied", "password"]),
    "wrong password of the target database": (
        given(edge_target_token_db=lambda bench: token_db(bench, "target", login_password="wrong-password")), ["edge_clone_write", "denied", "password"]),
    "wrong password of the source instance": (
        given(edge_source_instance=lambda bench: instance(bench, "source", password="wrong-password")), ["edge.automation", "password"]),
    "wrong password of the target instance": (
        given(edge_target_instance=lambda bench: instance(bench, "target", password="wrong-password")), ["edge.automation", "password"]),
    "instance with an expired certificate": (instance_with_expired_certificate, ["certificate", "expired"]),
    "database with an expired certificate": (database_with_expired_certificate, ["certificate", "expired"]),
    "source account may not read": (revoked("source", "SELECT", "edgeencryption.*"), ["GRANT SELECT", "edge_clone_read"]),
    "target account may not create": (revoked("target", "CREATE", r"`edgeencryption\_%`.*"), ["GRANT CREATE", "edge_clone_write"]),
    "proxy that serves the source": (proxy_of_the_source, ["edge_target_3 of edge_target_proxies serves the instance 127.0.0.1:", "Correct the inventory"]),
    "proxy that the target does not know": (unknown_proxy, ["Only in the inventory: edge_target_3", "authenticate it"]),
    "host of a proxy whose clock is wrong": (host_two_hours_behind, ["clock of edge_target_2", "differ by -7", "Correct the clock", "edge_max_clock_skew"]),
    "proxy that is online and not in the inventory": (forgotten_proxy, ["not in the inventory: edge_target_3", "add it to edge_target_proxies"]),
    "recreated signatures with a clone that leaves nothing out": (
        given(edge_signature_option="recreated"),
        ["sys_encryption_configuration, sys_encryption_rule", "does not leave it out", "exclusions of the clone's profile"],
    ),
    "recreated signatures with a clone that brings the rules": (
        without_rules(tables=["sys_encryption_configuration"]), ["table sys_encryption_rule:", "does not leave it out", "exclusions"]),
    "recreated signatures with a clone that takes the base rules away": (
        without_rules(preserved={"sys_encryption_rule": "name=SOAP"}), ["JSONv2", "nobody but ServiceNow can sign", "a preserver of sys_encryption_rule"]),
    "alias for the signature key that another key has": (
        given(edge_signature_option="copied_key", edge_signature_alias="AES128test"), ["something else under the alias AES128test", "edge_signature_alias"]),
    "unknown signature option": (given(edge_signature_option="option3"), ["edge_signature_option is option3", "copied_key, resigned or recreated"]),
    "users replaced and no account afterwards": (users_replaced(), ["replaces the users of acmetest", "edge_target_instance_after_clone"]),
    "account after the clone that cannot log in": (
        users_replaced(password="wrong-password"), ["edge_target_instance_after_clone", "acmeprod, whose users the clone brings", "password"]),
    "account after the clone with too few roles": (
        users_replaced(password=lambda bench: bench.lab["instances"]["source"]["password"]),
        ["edge_target_instance_after_clone lacks security_admin, user_admin on acmeprod", "edge_required_roles"],
    ),
    "wrong password of the proxies' account": (
        given(edge_service_account={"username": "edge.proxy", "password": "wrong-password"}), ["edge.proxy cannot log in to acmetest", "edge_service_account"]),
    "roles that the account does not have": (
        given(edge_required_roles={"source": ["clone_admin", "edge_reader"]}), ["edge_source_instance lacks edge_reader on acmeprod", "edge_required_roles"]),
    "source of another release": (newer_source, ["brings release australia to acmetest, which has zurich", "edge_new_release=australia"]),
    "nothing to verify": (given(edge_verify_records=[]), ["edge_verify_records"]),
}
FAST = (
    "unknown target", "target is the source", "production target", "target that another run holds", "clone to another target",
    "proxy that is online and not in the inventory",
)  # fmt: skip


@pytest.mark.parametrize("name", [name if name in FAST else pytest.param(name, marks=pytest.mark.long) for name in CASES])
def test_bad_input_is_refused_and_nothing_changes(bench: Bench, name: str) -> None:
    case, words = CASES[name]
    before = bench.world()
    folder = "refused-" + name.replace(" ", "-")
    with case(bench) as overrides:
        run = bench.run(state=folder, **overrides)
    assert run.returncode != 0, run.output[-3000:]
    assert not [word for word in words if word not in run.message], run.message
    assert not list((bench.folder / folder).rglob("lock.json")), "the refused run holds the target"
    assert {event["step"] for event in bench.journal(folder) if event["event"] == "step"} <= {"t00_preflight", "t10_source_backup"}
    assert bench.world() == before
