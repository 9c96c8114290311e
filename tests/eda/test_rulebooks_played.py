# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rulebooks in the real ansible-rulebook, with our sources. The playbooks are stood in for by ones that write down with which variables they were started;
the real ones are started in test_event_driven_clone."""

import datetime
import json
import shutil
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from ansible_collections.edge_encryption.clone.tests.eda.rulebook import ROOT, TOOLS, Rulebook
from ansible_collections.edge_encryption.clone.tests.unit.fake_instance import fake  # noqa: F401  # pylint: disable=unused-import

pytestmark = pytest.mark.long
SECRET = "pw-of-the-instance"
TOKEN = "token-of-the-log-shipper"
RECORDER = """
- name: Write down with what it was started
  hosts: all
  gather_facts: false
  tasks:
    - name: Write it down
      ansible.builtin.lineinfile:
        path: "{{ lookup('ansible.builtin.env', 'RECORD') }}"
        create: true
        mode: "0600"
        insertafter: EOF
        line: "{{ started | to_json }}"
      vars:
        started:
          playbook: PLAYBOOK
          number: "{{ edge_clone_number | default('') }}"
          confirmed: "{{ edge_confirm_target | default('') }}"
          last_step: "{{ edge_last_step | default('') }}"
          stop_lead: "{{ edge_stop_lead | default(0) | int }}"
          event: "{{ ansible_eda.event.id | default('') }}"
          at: "{{ now(utc=true).isoformat() }}"
"""


def utc(seconds_from_now):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds_from_now)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


@pytest.fixture
def collections(tmp_path):
    """The collection as it is installed, but for its playbooks."""
    copy = tmp_path / "collections" / "ansible_collections" / "edge_encryption" / "clone"
    shutil.copytree(ROOT / "plugins", copy / "plugins")
    shutil.copytree(ROOT / "extensions" / "eda", copy / "extensions" / "eda")
    shutil.copytree(ROOT / "meta", copy / "meta")
    shutil.copy(ROOT / "galaxy.yml", copy)
    (copy / "playbooks").mkdir()
    for name in ("clone_with_tokenization", "make_safe", "verify_clone"):
        (copy / "playbooks" / f"{name}.yml").write_text(RECORDER.replace("PLAYBOOK", name))
    return tmp_path / "collections"


@pytest.fixture
def play(tmp_path, collections):
    """Return a function that makes the process of a rulebook."""
    inventory = tmp_path / "inventory" / "hosts.yml"
    inventory.parent.mkdir()
    local = {"ansible_connection": "local", "ansible_python_interpreter": str(TOOLS / "python")}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"runner": local}}}))

    def make(name, variables, **environment):
        rulebook = Rulebook(name, tmp_path / "play", collections, inventory.parent, variables, {"RECORD": str(tmp_path / "record.jsonl"), **environment})
        rulebook.started = lambda: [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        return rulebook

    record = tmp_path / "record.jsonl"
    return make


@pytest.fixture
def source(fake):  # noqa: F811
    fake.users["edge.automation"] = SECRET
    fake.prod = fake.add("instance", instance_name="acmeprod", production="true")
    fake.test = fake.add("instance", instance_name="acmetest", production="false")
    fake.tables["clone_instance"], fake.tables["clone_log"] = {}, {}
    return fake


@pytest.fixture
def variables(source, tmp_path):
    cursor = str(tmp_path / "cursor.json")
    return {"edge_source_instance": source.instance, "edge_target_name": "acmetest", "edge_confirm_target": "acmetest", "edge_stop_lead": 500,
            "edge_events_notice": 100, "edge_events_interval": 0.5, "edge_events_cursor": cursor}  # fmt: skip


def add(source, number, state, scheduled, **fields):
    values = dict(state=state, target_instance=source.test, source_instance=source.prod, scheduled=utc(scheduled), started="", completed="", message="",
                  profile="", stage="")  # fmt: skip
    return source.row("clone_instance", source.add("clone_instance", clone_id=number, **dict(values, **fields)))


def acts(rulebook):
    return [(each["playbook"], each["number"], each["last_step"]) for each in rulebook.started()]


def test_each_event_of_a_clone_starts_its_act_and_a_killed_rulebook_goes_on(source, play, variables):
    main = "clone_with_tokenization"
    add(source, "CLN1", "Completed", -90000, completed=utc(-90000))
    with play("clone_events", variables) as rulebook:
        clone = add(source, "CLN2", "Scheduled", 7200)
        expected = [(main, "CLN2", "t20_before_clone")]
        rulebook.wait_until(lambda: acts(rulebook) == expected, 60)
        assert {key: rulebook.started()[0][key] for key in ("confirmed", "stop_lead")} == {"confirmed": "acmetest", "stop_lead": 500}

        clone["scheduled"] = utc(590)  # brought forward; it is due at once, and is not prepared a second time
        expected += [(main, "CLN2", "t35_stage")]
        rulebook.wait_until(lambda: acts(rulebook) == expected, 60)
        assert "LATE" not in rulebook.output

        rulebook.kill()
        rulebook.start()  # what the last event had begun may have been cut off
        expected += [(main, "CLN2", "t35_stage")]
        rulebook.wait_until(lambda: acts(rulebook) == expected, 60)
        assert rulebook.started()[-1]["event"] == rulebook.started()[-2]["event"]

        clone.update(state="Active", started=utc(0))
        expected += [(main, "CLN2", "t35_stage")]
        rulebook.wait_until(lambda: acts(rulebook) == expected, 60)

        clone.update(state="Completed", completed=utc(0))
        expected += [(main, "CLN2", "t99_report")]
        rulebook.wait_until(lambda: acts(rulebook) == expected, 60)

        # One that runs already is late, one whose end nobody expected is only told.
        late = add(source, "CLN3", "Active", -300, started=utc(-300))
        rulebook.wait_until(lambda: acts(rulebook)[len(expected):] == [(main, "CLN3", "t35_stage")] * 2, 60)
        assert "LATE by 8" in rulebook.output
        add(source, "CLN4", "Completed", -7200, completed=utc(-60))
        rulebook.wait_until(lambda: "Clone CLN4 to acmetest is Completed and was not seen before. Nothing was done." in " ".join(rulebook.output.split()), 60)

        # An early end puts the target back, one that replaced its data makes it safe.
        source.add("clone_log", clone=late["sys_id"], message="Preservers", sys_created_on=utc(0))
        late.update(state="Canceled", stage="Preservers", message="by its owner")
        rulebook.wait_until(lambda: acts(rulebook)[-1] == (main, "CLN3", "t99_report"), 60)
        bad = add(source, "CLN5", "Active", -300, started=utc(-300))
        rulebook.wait_until(lambda: acts(rulebook)[-1] == (main, "CLN5", "t35_stage"), 60)
        bad.update(state="Error", stage="Post Clone")
        rulebook.wait_until(lambda: acts(rulebook)[-1] == ("make_safe", "CLN5", ""), 60)
        add(source, "CLN6", "Hold", 7200, message="no authentication of the target")
        rulebook.wait_until(lambda: "its state is Hold" in " ".join(rulebook.output.split()), 60)
        assert not any(act[1] in ("CLN1", "CLN4", "CLN6") for act in acts(rulebook))
        assert SECRET not in rulebook.output


def test_a_wrong_password_ends_the_rulebook_with_the_reason(source, play, variables):
    variables["edge_source_instance"] = dict(source.instance, password="wrong-one")
    with play("clone_events", variables) as rulebook:
        rulebook.wait_until(lambda: rulebook.process.poll() is not None, 60, ends=True)
        assert rulebook.process.returncode != 0
        assert "the login was refused (401). Check user edge.automation" in rulebook.output and "wrong-one" not in rulebook.output


def test_a_lost_heartbeat_starts_the_verification_once(fake, play, variables):  # noqa: F811
    table = "sys_encryption_proxy"
    rows = [fake.row(table, fake.add(table, name=f"proxy_{number}", host="h", port="8443", status="Authenticated", online="true", last_response_on=utc(0)))
            for number in (1, 2)]  # fmt: skip
    with play("proxy_health", {"edge_events_interval": 0.5, "edge_events_cursor": variables["edge_events_cursor"]},
              SN_HOST=fake.url, SN_USERNAME="edge.automation", SN_PASSWORD=SECRET) as rulebook:  # fmt: skip
        fake.users["edge.automation"] = SECRET
        rulebook.wait_until(lambda: len(fake.requests) > 2, 60)
        for row in rows:
            row["online"] = "false"
        rulebook.wait_until(lambda: acts(rulebook), 60)
        rulebook.wait_until(lambda: "heard of proxy proxy_1" in rulebook.output and "heard of proxy proxy_2" in rulebook.output, 60)
        rows[0]["online"] = "true"
        rulebook.wait_until(lambda: "proxy proxy_1 is back" in rulebook.output, 60)
        assert acts(rulebook) == [("verify_clone", "", "")]


@pytest.fixture
def certificate(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", key, "-out", cert]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, *files], check=True, capture_output=True)
    return cert, key


def free_port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()
    return server.server_address[1]


def test_a_line_about_signatures_starts_the_verification_once(play, certificate):
    cert, key = certificate
    port = free_port()

    def post(line, token=TOKEN):
        request = urllib.request.Request(f"https://127.0.0.1:{port}/", json.dumps({"host": "proxy1", "line": line}).encode())
        request.add_header("Authorization", "Bearer " + token)
        return urllib.request.urlopen(request, context=ssl.create_default_context(cafile=str(cert)), timeout=10).status

    def listens():
        try:
            return post("2026-01-31 22:00:00,000 INFO all is well") == 200
        except urllib.error.URLError:
            return False

    variables = {"edge_events_port": port, "edge_events_token": TOKEN, "edge_events_certfile": str(cert), "edge_events_keyfile": str(key)}
    with play("proxy_log", variables) as rulebook:
        rulebook.wait_until(listens, 60)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            post("ERROR Edge Encryption rule : 'x' does not have a valid signature", token="wrong")
        post("2026-01-31 22:00:00,000 WARN This Edge Encryption proxy has not yet been authenticated by the instance.")
        rulebook.wait_until(lambda: "has not yet been authenticated" in rulebook.output, 60)
        assert acts(rulebook) == []
        for dummy in range(3):
            post("2026-01-31 22:00:00,000 ERROR Edge Encryption rule : 'REST JSON' does not have a valid signature")
        rulebook.wait_until(lambda: acts(rulebook), 60)
        post("2026-01-31 22:00:01,000 ERROR Received error in response for keep-alive request. Please check")
        rulebook.wait_until(lambda: "Received error in response" in rulebook.output or len(acts(rulebook)) > 1, 60)
        assert acts(rulebook) == [("verify_clone", "", "")]
        assert TOKEN not in rulebook.output


class Controller:
    """As much of the API of a controller as one job needs: templates are found by name, a launch is written down, the job is done at once."""

    def __init__(self):
        self.launched = []
        controller = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *unused):
                pass

            def do_GET(self):
                self.answer()

            def do_POST(self):
                self.answer(json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}"))

            def answer(self, body=None):
                status, value = controller.answer(self.command, self.path, body)
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api/"
        self.unknown = []

    def answer(self, method, path, body):
        if "/config/" in path:
            return 200, {"version": "4.6"}
        if method == "POST" and path.endswith("/launch/"):
            self.launched.append(body)
            return 201, {"id": 7, "url": "/api/v2/jobs/7/", "status": "pending"}
        if "/jobs/" in path:
            job = {"id": 7, "type": "job", "url": "/api/v2/jobs/7/", "status": "successful", "artifacts": {}, "created": "2026-01-31T22:00:00Z"}
            return 200, job if "/jobs/7/" in path else {"count": 1, "next": None, "results": [job]}
        if "unified_job_templates" in path or "job_templates" in path:
            asked = {f"ask_{what}_on_launch": what in ("variables", "limit") for what in ("variables", "limit", "labels", "inventory")}
            summary = {"organization": {"name": "Default"}}
            template = {"id": 3, "type": "job_template", "name": "Edge Encryption / Clone with tokenization", "summary_fields": summary,
                        "related": {"launch": "/api/v2/job_templates/3/launch/"}, **asked}  # fmt: skip
            return 200, {"count": 1, "next": None, "results": [template]}
        self.unknown.append(path)
        return 404, {"detail": path}

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.server.shutdown()
        self.server.server_close()


def test_a_job_template_is_launched_with_the_variables_of_the_act(source, play, variables):
    add(source, "CLN1", "Scheduled", 7200)
    with Controller() as controller, play("clone_events_job_templates", variables, EDA_CONTROLLER_URL=controller.url, EDA_CONTROLLER_TOKEN="t") as rulebook:
        rulebook.wait_until(lambda: controller.launched or controller.unknown, 60)
        assert controller.unknown == []
        given = controller.launched[0]["extra_vars"]
        given.pop("ansible_eda")
        assert given == {"edge_clone_number": "CLN1", "edge_confirm_target": "acmetest", "edge_stop_lead": 500, "edge_last_step": "t20_before_clone"}


@pytest.mark.parametrize("source_plugin", ["clone_status", "proxy_health"])
def test_a_source_finds_its_collection_wherever_it_lies(collections, tmp_path, source_plugin):
    """As ansible-rulebook does it: from its path, by a Python that knows nothing of collections."""
    path = collections / "ansible_collections" / "edge_encryption" / "clone" / "extensions" / "eda" / "plugins" / "event_source" / f"{source_plugin}.py"
    program = f"import runpy; print(runpy.run_path({str(path)!r})['main'].__name__)"
    done = subprocess.run([TOOLS / "python", "-I", "-c", program], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.stdout == "main\n", done.stderr
