# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One proxy's life: start sequence, heartbeats, configuration polls, locking, stop."""

import asyncio
import base64
import json
import os
import signal
import ssl
import tempfile

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives import serialization

from . import VERSION, keystore
from .ciphers import CIPHER_TEXT, Ciphers, MissingKey
from .control import Control, basic_auth
from .gateway import Gateway
from .settings import SettingsError
from .tokens import DatabaseDown, TokenDatabase, TokenError
from .translate import Translator
from .trust import Cache, Trust

KNOBS = {
    "sign_rest": True,  # false: only a form POST is signed
    "latency_ms": 0,
    "jitter_ms": 0,
    "start_delay": 0,  # seconds before the start sequence begins
    "crash_after_start": None,  # seconds of service before the process dies without a word
    "ignore_shutdown": False,  # SIGTERM is ignored
    "plain_text_leak": False,  # configured columns are forwarded in clear
    "db_id_check": "warn",  # ignore | warn | refuse
    "startup_error_spelling": "occurred",  # occured: as in some real logs
}
RULES_DIRECTORY = "cache/rules"
FULL_POLL_EVERY = 20  # polls between two that fetch the configuration whatever its version
STATUSES = ("Unauthenticated", "Pending", "Authenticated")


class StartupError(Exception):
    """The proxy cannot start; the text is what the log says."""


class Stopped(Exception):
    """The proxy was told to stop while it was starting."""


def _named(item):
    return {"table": item["table"], "sys_id": item["sys_id"]}


class Proxy:
    """The process behind startup.sh."""

    def __init__(self, settings, log, wrapper):
        self.settings = settings
        self.log = log
        self.wrapper = wrapper
        knobs = dict(KNOBS, **settings.lab.get("knobs", {}))
        self.control = Control(settings.get("proxy.name", "?"), knobs, self._save_knobs)
        self.knobs = self.control.knobs
        self.control.app.router.add_get("/state", self._get_state)
        self.gateway = Gateway(self)
        self.stopping = asyncio.Event()
        self.status = "Unauthenticated"
        self.locked_by_property = settings.flag("proxy.locked")
        self.locked_by_signature = False
        self.deleted = set()  # records deleted through this proxy
        self.errors = []
        self.instance_version = None  # as the last heartbeat told
        self.jobs_wait = False  # so did it tell whether a key rotation is under way
        self.configuration = None
        self.translator = None
        self.database = None
        self.db_id = None
        self._site = None
        self._tasks = []
        self._last_failures = None
        self._service = None

    # -- log

    def error(self, text):
        self.log.error("%s", text)
        self.errors = [*self.errors[-99:], text]

    # -- life

    async def run(self):
        """Return the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self._terminate)
        await self.control.start(self.settings.lab["control_port"], self.settings.lab.get("bind", "127.0.0.1"))
        try:
            try:
                await self._start()
            except Stopped:
                return 0
            except (StartupError, SettingsError, keystore.KeystoreError) as error:
                self.error(f"Error {self.knobs['startup_error_spelling']} during proxy startup: {error}")
                return 1
            if self.knobs["crash_after_start"] is not None:
                loop.call_later(self.knobs["crash_after_start"], os._exit, 1)
            await self.stopping.wait()
            self.log.info("Edge Encryption proxy is stopping")
            return 0
        finally:
            await self._stop()

    def _terminate(self):
        if not self.knobs["ignore_shutdown"]:
            self.stopping.set()

    async def _stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close_port()
        await self.gateway.stop()
        if self._service is not None:
            await self._service.close()
        if self.database is not None:
            self.database.close()
        await self.control.stop()

    async def _pause(self, seconds):
        """Sleep, but not past a stop."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except asyncio.TimeoutError:
            return
        raise Stopped

    async def _start(self):
        if self.knobs["start_delay"]:
            await self._pause(self.knobs["start_delay"])
        self.log.info("Starting Edge Encryption proxy '%s' version %s", self.settings.name, VERSION)
        self._load_keys()
        self.cache = Cache(self.settings.home, self.settings.path("rules.dir", RULES_DIRECTORY))
        try:
            self.copies = self.cache.read()
        except (OSError, ValueError, KeyError) as error:
            raise StartupError(f"The local copies of the encryption configuration cannot be read: {error}") from error
        await self._open_database()
        await self._open_service()
        await self.gateway.start()
        await self._register()
        await self._first_configuration()
        await self._open_port()
        self._tasks = [asyncio.create_task(self._heartbeats()), asyncio.create_task(self._polls()), asyncio.create_task(self._jobs())]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    def _task_ended(self, task):
        if not task.cancelled() and task.exception() is not None:
            self.log.error("Edge Encryption proxy died", exc_info=task.exception())
            self.stopping.set()

    def _load_keys(self):
        settings = self.settings
        self.known_cleartext = settings.require("customer.assigned.known.cleartext")
        password = settings.get("keystore.password")
        self.keys = keystore.aes_keys(settings.path("keystore.path"), password, settings.path("keyfile.directory"))
        self.ciphers = Ciphers(self.keys, settings.static_iv)
        signature = (
            settings.path("proxy.signature.keystore.path", "keystore/keystore.jceks"),
            settings.get("proxy.signature.keystore.password", "changeme"),
        )
        self.signature_key, chain = keystore.private_key(*signature, settings.require("proxy.signature.keystore.keyalias"))
        self.trust = Trust(
            chain[0].public_key(),
            keystore.trusted_key(*signature),
            check_configurations=not settings.flag("proxy.skip.config.validate"),
            check_rules=settings.flag("proxy.signature.verify", True),
        )
        self.server_tls = self._server_tls()
        self.client_tls = ssl.create_default_context(cafile=settings.lab.get("ca"))
        self.client_tls.check_hostname = settings.lab.get("check_hostname", True)

    def _server_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        alias = self.settings.get("proxy.https.cert.alias")
        if alias is None:
            context.load_cert_chain(self.settings.lab["tls_cert"], self.settings.lab["tls_key"])
            return context
        key, chain = keystore.private_key(
            self.settings.path("proxy.https.keystore.path", "keystore/keystore.jceks"),
            self.settings.get("proxy.https.keystore.password", "changeme"),
            alias,
        )
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # mode 0600
            file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
            file.write(b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    async def _open_database(self):
        arguments = self.settings.database
        if arguments is None:
            return
        bootstrap = self.settings.home / "sql" / self.settings.get("db.bootstrap.file", "edgeencryption_bootstrap.sql")
        self.database = TokenDatabase(arguments, self.ciphers, bootstrap if bootstrap.exists() else None)
        if self.settings.flag("encryption.order_preserving.cache.enable"):
            self.database.order_cache = {}
            self.database.order_cache_size = self.settings.number("encryption.order_preserving.cache.size", 10000)
        try:
            self.db_id = await asyncio.to_thread(self.database.identity)
        except (DatabaseDown, TokenError) as error:
            raise StartupError(f"Failed to connect to the proxy database: {error}") from error
        remembered = self.copies.extras.get("db_id")
        if remembered and remembered != self.db_id:
            self._database_changed(remembered, StartupError)

    def _database_changed(self, before, refusal):
        text = f"The proxy database is another one: its db_id is {self.db_id}, expected {before}"
        if self.knobs["db_id_check"] == "refuse":
            raise refusal(text)
        if self.knobs["db_id_check"] == "warn":
            self.log.warning("%s", text)

    # -- the instance

    async def _open_service(self):
        authorization = basic_auth(self.settings.require("target.username"), self.settings.get("target.password", ""))
        headers = {"Authorization": authorization, "X-Edge-Proxy": self.settings.name, "Accept": "application/json"}
        self.keepalive = self.settings.seconds("proxy.keepalive.interval", 10, 5)
        self.poll_interval = self.settings.seconds("config.poll.interval", 5)
        # Three intervals: the instance calls a proxy offline after that long.
        self._service = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.client_tls),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=3 * self.keepalive),
        )

    async def _call(self, method, path, **arguments):
        """Return (HTTP status, JSON) of the private protocol."""
        async with self._service.request(method, self.settings.target + path, allow_redirects=False, **arguments) as response:
            try:
                content = json.loads(await response.read())
            except ValueError:
                content = {}
            return response.status, content if isinstance(content, dict) else {}

    async def _register(self):
        """Register until the instance says Authenticated."""
        limit = self.settings.number("register.retry.count", 0)
        failures = 0
        warned = False
        while True:
            try:
                status, answer = await self._call("POST", "/edge/register", json=self._registration())
                problem = None if status == 200 and answer.get("status") in STATUSES else f"HTTP status {status}"
            except asyncio.TimeoutError:
                problem = "java.util.concurrent.TimeoutException: Total timeout elapsed"
            except aiohttp.ClientError as error:
                problem = f"{type(error).__name__}: {error}"
            if problem is None:
                self.status = answer["status"]
                if self.status == "Authenticated":
                    return
                if not warned:
                    self.log.warning("This Edge Encryption proxy has not yet been authenticated by the instance.")
                    self.log.warning("Please navigate to the matching Proxy record on your ServiceNow instance and authenticate it.")
                warned = True
            else:
                failures += 1
                self.error(f"Failed to register with the ServiceNow instance {self.settings.target}: {problem}")
                if limit and failures >= limit:
                    raise StartupError(f"Failed to register with the ServiceNow instance after {failures} attempts: {problem}")
            await self._pause(self.poll_interval)

    def _registration(self):
        keys = [
            {
                "alias": key.alias,
                "size": key.size,
                "type": key.type,
                "check": Ciphers.known_check(key, self.known_cleartext, self.ciphers.static_iv),
            }
            for key in self.keys.values()
        ]
        return {
            "name": self.settings.name,
            "host": self.settings.host,
            "port": self.settings.https_port,
            "version": VERSION,
            "db_id": self.db_id,
            "keys": keys,
        }

    async def _first_configuration(self):
        """Take the configuration over, or refuse to start. A locked proxy starts with its local copy if it has one."""
        if self.locked_by_property and self.copies:
            configuration = self.copies.as_configuration()
        else:
            configuration = await self._fetch()
        failures = self.trust.failures(configuration, self.copies)
        if failures:
            self._report(failures)
            first = next((failure for failure in failures if failure.kind == "configurations"), None)
            raise StartupError(
                f"Failed get edge encryption configuration from the ServiceNow instance: {first.text}"
                if first
                else "One or more records failed signature validation. Will not update the proxy until this is resolved."
            )
        self._accept(configuration)

    async def _fetch(self):
        while True:
            try:
                status, configuration = await self._call("GET", "/edge/configuration", params={"name": self.settings.name})
                if status == 200 and "rules" in configuration:
                    return configuration
                problem = f"HTTP status {status}"
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                problem = f"{type(error).__name__}: {error}"
            self.error(f"Failed get edge encryption configuration from the ServiceNow instance: {problem}")
            await self._pause(self.poll_interval)

    def _accept(self, configuration):
        self.configuration = configuration
        self.translator = Translator(
            configuration,
            self.ciphers,
            self.database,
            excluded_tables=self._excluded_tables(),
            leak=lambda: self.knobs["plain_text_leak"],
            warn=lambda text: self.log.warning("%s", text),
        )
        for size, alias in configuration["default_keys"].items():
            if alias and alias not in self.keys:
                self.error(f"Default encryption key '{alias}' (AES {size}) is not available on this proxy")
        self.copies = self.trust.copies(configuration, self.db_id)
        self.cache.write(self.copies)
        self.deleted.clear()

    def _excluded_tables(self):
        return [name.strip() for name in self.settings.get("tokenization.exclusion.list", "").split(",") if name.strip()]

    def _report(self, failures):
        for failure in failures:
            if failure.unsigned and failure.kind == "configurations":
                self.error(
                    "java.lang.NullPointerException\n"
                    "\tat com.snc.edgeencryption.EncryptedFieldsManager.verifyConfigurationSignatures(EncryptedFieldsManager.java:212)"
                )
            self.error(failure.text)
        if any(failure.kind == "rules" for failure in failures):
            self.error(
                "Error in updating sync data manager for Edge Encryption Rules : One or more records failed signature validation. "
                "Will not update the proxy until this is resolved."
            )
        if any(failure.kind == "configurations" for failure in failures):
            self.error(
                "Error in updating sync data manager for Encryption Configurations : One or more records failed signature validation. "
                "Will not update the proxy until this is resolved."
            )

    # -- in service

    async def _open_port(self):
        self._runner = web.AppRunner(self.gateway.app, access_log=None, handle_signals=False, shutdown_timeout=2)
        await self._runner.setup()
        self._site = web.TCPSite(
            self._runner,
            self.settings.lab.get("bind", "127.0.0.1"),
            self.settings.https_port,
            ssl_context=self.server_tls,
            reuse_address=True,
        )
        try:
            await self._site.start()
        except OSError as error:
            raise StartupError(f"java.net.BindException: {error}") from error
        self.log.info("Edge Encryption proxy '%s' is listening on port %s", self.settings.name, self.settings.https_port)

    async def _close_port(self):
        if self._site is not None:
            await self._runner.cleanup()
            self._site = None

    async def _heartbeats(self):
        while True:
            await asyncio.sleep(self.keepalive)
            await self._check_database()
            body = {
                "name": self.settings.name,
                "db_id": self.db_id,
                "locked": self.locked,
                "error": self.errors[-1] if self.errors else None,
                "keys": sorted(self.keys),
            }
            try:
                status, answer = await self._call("POST", "/edge/heartbeat", json=body)
                problem = None if status == 200 and answer.get("status") in STATUSES else f"HTTP status {status}"
            except asyncio.TimeoutError:
                problem = "java.util.concurrent.TimeoutException: Total timeout elapsed"
            except aiohttp.ClientError as error:
                problem = f"{type(error).__name__}: {error}"
            if problem is not None:
                self.error(
                    "Received error in response for keep-alive request. Please check the connectivity between the Edge proxy and the "
                    f"ServiceNow instance. Result : {problem}"
                )
                continue
            self.status = answer["status"]
            self.instance_version = answer.get("config_version")
            self.jobs_wait = answer.get("jobs", False)
            if self.status != "Authenticated":
                await self._out_of_service()

    async def _out_of_service(self):
        """The instance took the authentication back: nobody is served until it is given again."""
        await self._close_port()
        try:
            await self._register()
        except (Stopped, StartupError):
            self.stopping.set()
            return
        try:
            await self._open_port()
        except StartupError as error:
            self.error(str(error))
            self.stopping.set()

    async def _check_database(self):
        if self.database is None:
            return
        try:
            found = await asyncio.to_thread(self.database.identity)
        except (DatabaseDown, TokenError) as error:
            self.error(f"The proxy database is not available: {error}")
            return
        if found != self.db_id:
            before, self.db_id = self.db_id, found
            try:
                self._database_changed(before, DatabaseDown)
            except DatabaseDown as error:
                self.error(str(error))
                self.stopping.set()

    async def _polls(self):
        count = 0
        while True:
            await asyncio.sleep(self.poll_interval)
            count += 1
            if self.locked_by_property or self.status != "Authenticated":
                continue
            if self.instance_version == self.configuration["version"] and not self.locked_by_signature and count % FULL_POLL_EVERY:
                continue
            try:
                status, configuration = await self._call("GET", "/edge/configuration", params={"name": self.settings.name})
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                self.error(f"Failed get edge encryption configuration from the ServiceNow instance: {type(error).__name__}: {error}")
                continue
            if status == 200 and "rules" in configuration:
                self._update(configuration)

    async def _jobs(self):
        """Do chunks of rotation jobs as long as the instance has some."""
        while True:
            if not self.jobs_wait:
                await asyncio.sleep(self.poll_interval)
                continue
            try:
                status, chunk = await self._call("GET", "/edge/chunk", params={"name": self.settings.name})
                if status == 200 and chunk.get("chunk"):
                    items = await self._rotate(chunk)
                    await self._call("POST", "/edge/chunk", json={"chunk": chunk["chunk"], "items": items})
                    continue
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                self.log.warning("A key rotation could not be gone on with: %s: %s", type(error).__name__, error)
            await asyncio.sleep(self.poll_interval)

    async def _rotate(self, chunk):
        if self.database is not None:
            try:
                await asyncio.to_thread(self.database.rotate, chunk["aliases"])
            except (DatabaseDown, TokenError, MissingKey, ValueError) as error:
                return [dict(_named(item), error=f"The order tokens cannot be rotated: {error}") for item in chunk["items"]]
        items = []
        for item in chunk["items"]:
            try:
                items.append(dict(_named(item), **await self._rotated(item)))
            except (MissingKey, ValueError, DatabaseDown, TokenError) as error:
                items.append(dict(_named(item), error=str(error)))
        return items

    async def _rotated(self, item):
        if "content" in item:
            data = base64.b64decode(item["content"])
            return {"content": base64.b64encode(self.ciphers.rotated_attachment(data)).decode()}
        values = {}
        for column, text in item["values"].items():
            new = self.ciphers.rotated(text)
            if new.startswith("edge:o:") and item["table"] != "sys_audit":
                # Its token may have gone in favour of the one that the same value got since the default key was changed.
                clear, size = self.ciphers.open(CIPHER_TEXT.fullmatch(text)), self.keys[CIPHER_TEXT.fullmatch(new)["alias"]].size
                new = self.ciphers.order_preserving(clear, size, await self.translator.order_token(item["table"], column, clear, size))
            values[column] = (text, new)
        return {"values": values}

    def _update(self, configuration):
        """Apply a configuration only as a whole and only if every record of it can be trusted; otherwise lock."""
        failures = self.trust.failures(configuration, self.copies, self.deleted)
        if not failures:
            if self.locked_by_signature:
                self.log.info("Every record has a valid signature again, the proxy is unlocked")
            self.locked_by_signature, self._last_failures = False, None
            if configuration != self.configuration:
                self._accept(configuration)
            return
        seen = [(failure.row["sys_id"], failure.row.get("signature")) for failure in failures]
        if seen != self._last_failures:
            self._report(failures)
            self.log.warning("The proxy is locked: it goes on with its local copies and takes no change of the configuration")
        self.locked_by_signature, self._last_failures = True, seen

    # -- control port

    @property
    def locked(self):
        return self.locked_by_property or self.locked_by_signature

    async def _get_state(self, _request):
        return web.json_response(
            {
                "status": self.status,
                "locked": self.locked,
                "locked_by": "property" if self.locked_by_property else "signature" if self.locked_by_signature else None,
                "listening": self._site is not None,
                "verify": self.trust.checks if hasattr(self, "trust") else None,
                "config_version": self.configuration["version"] if self.configuration else None,
                "errors": self.errors,
                "db_id": self.db_id,
                "pid": os.getpid(),
            }
        )

    def _save_knobs(self, knobs):
        """Knobs outlive the process: some matter only at the next start."""
        path = self.settings.home / "conf" / "lab.json"
        lab = json.loads(path.read_text(encoding="utf-8"))
        lab["knobs"] = {name: value for name, value in knobs.items() if value != KNOBS.get(name)}
        new = path.with_suffix(".new")
        new.write_text(json.dumps(lab, indent=2) + "\n")
        os.replace(new, path)
