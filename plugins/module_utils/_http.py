# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""One HTTP session with a ServiceNow instance, or with an Edge Encryption proxy in front of it.

A client keeps one connection and one cookie jar, because an instance serialises the requests of a session: parallel workers take one
client each (C(sibling())). It repeats a request only where that cannot do harm: reads, and writes that certainly did not arrive. Any
other failed write raises an error whose C(ambiguous) is true: read before writing again.
"""

import email.utils
import json
import random
import ssl
import time
import traceback
import typing as t
from urllib.parse import urlsplit

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError

try:
    import requests
except ImportError:
    REQUESTS_IMPORT_ERROR = traceback.format_exc()  # type: t.Optional[str]
else:
    REQUESTS_IMPORT_ERROR = None

T = t.TypeVar("T")

# A rate limit counts per hour, so a server may well ask for a long pause; nobody wants to wait longer without being told.
LONGEST_PAUSE = 120.0
GATEWAY_STATUS = (502, 503, 504)
HIBERNATION_MARK = b"Instance Hibernating page"


class RestError(EdgeError):
    """A request that did not bring what it should.

    C(ambiguous): the write may have been carried out. C(transient): the same request may well succeed later.
    """

    ambiguous = False
    transient = False


class Unreachable(RestError):
    """No answer: refused, reset, timed out, or no trust in the certificate."""

    def __init__(self, thing: str, cause: str, way_out: str = "", ambiguous: bool = False, transient: bool = True) -> None:
        super().__init__(thing, cause, way_out)
        self.ambiguous = ambiguous
        self.transient = transient


class NotTheApi(RestError):
    """An answer that is not JSON of the REST API: a login, maintenance or hibernation page, or half an answer."""

    def __init__(self, thing: str, cause: str, way_out: str = "", ambiguous: bool = False, transient: bool = True) -> None:
        super().__init__(thing, cause, way_out)
        self.ambiguous = ambiguous
        self.transient = transient


class Hibernating(NotTheApi):
    """The page of an instance that sleeps. Asking again does not wake it, a person does."""


class LoginRefused(RestError):
    """401, or no token."""


class StatusError(RestError):
    """An error status of the REST API."""

    def __init__(
        self, thing: str, status: int, message: str, detail: str, ambiguous: bool = False, pause: t.Optional[float] = None
    ) -> None:
        text = "; ".join(part for part in (message, detail) if part) or "no explanation"
        super().__init__(thing, "the answer was {} ({}).".format(status, text), http_status=status)
        self.status = status
        self.message = message
        self.detail = detail
        self.ambiguous = ambiguous
        self.transient = status == 429 or status >= 500
        self.pause = pause


class Answer(t.NamedTuple):
    """What came back."""

    status: int
    headers: t.Mapping[str, str]
    body: bytes

    def json(self, thing: str, ambiguous: bool = False) -> t.Dict[str, t.Any]:
        """Return the JSON object of the body, or raise NotTheApi."""
        kind = self.headers.get("Content-Type", "")
        if "json" not in kind.lower():
            if HIBERNATION_MARK in self.body:
                raise Hibernating(thing, "the instance hibernates.", "Wake it up in the developer portal.", transient=False)
            raise NotTheApi(
                thing,
                "the answer ({}, {}) is a page instead of JSON.".format(self.status, kind.split(";")[0] or "no content type"),
                "Such pages come from a maintenance, a login or a load balancer; check the address.",
                ambiguous=ambiguous,
            )
        try:
            value = json.loads(self.body.decode("utf-8"))
        except ValueError:
            # An instance that cancels an overlong transaction sends status 200 and the beginning of the answer.
            raise NotTheApi(
                thing, "the JSON of the answer is damaged or cut off after {} bytes.".format(len(self.body)), ambiguous=ambiguous
            ) from None
        if not isinstance(value, dict):
            raise NotTheApi(thing, "the answer is JSON, but not that of the REST API.", ambiguous=ambiguous)
        return value


class Credentials(t.NamedTuple):
    """How to log in. With a client ID: OAuth; else basic authentication."""

    username: t.Optional[str] = None
    password: t.Optional[str] = None
    client_id: t.Optional[str] = None
    client_secret: t.Optional[str] = None
    grant_type: str = "password"

    def __repr__(self) -> str:
        return "Credentials({!r})".format(self.username or self.client_id)


class _Login:
    """Puts the Authorization header on. As requests' auth object it also keeps a ~/.netrc from replacing it."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.token = None  # type: t.Optional[str]

    def __call__(self, request: t.Any) -> t.Any:
        if self.token is not None:
            request.headers["Authorization"] = "Bearer " + self.token
        elif not self.credentials.client_id:
            # Bytes, because requests would otherwise encode both as latin-1.
            requests.auth.HTTPBasicAuth(
                (self.credentials.username or "").encode("utf-8"), (self.credentials.password or "").encode("utf-8")
            )(request)
        return request


class Client:
    """A session with one address."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        verify: t.Union[bool, str] = True,
        timeout: float = 30.0,
        attempts: int = 5,
        longest_pause: float = LONGEST_PAUSE,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EdgeError(url.rpartition("@")[2], "is no address.", "Write it like https://acmetest.service-now.com.")
        if parts.username or parts.password:
            raise EdgeError(url.rpartition("@")[2], "the address carries credentials.", "Give them by their own options.")
        if isinstance(verify, str):
            try:
                ssl.create_default_context(cafile=verify)
            except OSError as error:
                raise EdgeError(verify, "no certificate authorities can be read from it: {}.".format(error), "Give a PEM file.") from None
        self.url = url.rstrip("/")
        self.name = parts.netloc
        self.credentials = credentials
        self.verify = verify
        self.timeout = timeout
        self.attempts = attempts
        self.longest_pause = longest_pause
        self._sleep = sleep
        self._login = _Login(credentials)
        self._known = False  # These credentials have been accepted before.
        self.clock_skew = None  # type: t.Optional[float]
        self._session = self._open()

    def _open(self) -> t.Any:
        session = requests.Session()
        session.auth = self._login
        session.headers["Accept"] = "application/json"
        adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session

    def sibling(self, url: t.Optional[str] = None, verify: t.Optional[t.Union[bool, str]] = None) -> "Client":
        """Return a new client, with a session of its own, for the same account (at another address)."""
        client = Client(
            url or self.url,
            self.credentials,
            verify=self.verify if verify is None else verify,
            timeout=self.timeout,
            attempts=self.attempts,
            longest_pause=self.longest_pause,
            sleep=self._sleep,
        )
        client._known = self._known
        return client

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *unused: t.Any) -> None:
        self.close()

    # What modules use

    def get_json(self, path: str, params: t.Optional[t.Mapping[str, str]] = None) -> t.Dict[str, t.Any]:
        return self.get_json_and_headers(path, params)[0]

    def get_json_and_headers(
        self, path: str, params: t.Optional[t.Mapping[str, str]] = None
    ) -> t.Tuple[t.Dict[str, t.Any], t.Mapping[str, str]]:
        def once() -> t.Tuple[t.Dict[str, t.Any], t.Mapping[str, str]]:
            answer = self._answered("GET", path, params)
            return self._checked(answer, "GET", path), answer.headers

        return self._patiently("GET", once)

    def send_json(
        self, method: str, path: str, body: t.Mapping[str, t.Any], params: t.Optional[t.Mapping[str, str]] = None
    ) -> t.Dict[str, t.Any]:
        data = json.dumps(body).encode("utf-8")
        headers = {"Content-Type": "application/json"}
        return self._patiently(method, lambda: self._checked(self._answered(method, path, params, data, headers), method, path))

    def request(
        self,
        method: str,
        path: str,
        params: t.Optional[t.Mapping[str, str]] = None,
        data: t.Optional[t.Union[bytes, t.Mapping[str, str]]] = None,
        headers: t.Optional[t.Mapping[str, str]] = None,
        redirects: bool = False,
    ) -> Answer:
        """Return whatever a success brings. With C(redirects) an answer that leads elsewhere is one; it is not followed."""
        return self._patiently(method, lambda: self._answered(method, path, params, data, headers, redirects))

    # Inside

    def _patiently(self, method: str, once: t.Callable[[], T]) -> T:
        logged_in_again = False
        attempt = 0
        while True:
            attempt += 1
            try:
                return once()
            except LoginRefused:
                # An expired token or session. Never a second try with credentials that were never accepted: accounts lock.
                if not self._known or logged_in_again:
                    raise
                logged_in_again = True
                self._login.token = None
                self._session.cookies.clear()
            except RestError as error:
                if not error.transient or (error.ambiguous and method != "GET") or attempt >= self.attempts:
                    raise
                self._pause(attempt, error)

    def _answered(
        self,
        method: str,
        path: str,
        params: t.Optional[t.Mapping[str, str]] = None,
        data: t.Optional[t.Union[bytes, t.Mapping[str, str]]] = None,
        headers: t.Optional[t.Mapping[str, str]] = None,
        redirects: bool = False,
    ) -> Answer:
        self._need_token()
        answer = self._once(method, path, params, data, headers)
        self._raise_for_status(answer, method, path, redirects)
        self._known = True
        return answer

    def _thing(self, method: str, path: str) -> str:
        return "{} {}{}".format(method, self.name, path)

    def _once(
        self,
        method: str,
        path: str,
        params: t.Optional[t.Mapping[str, str]],
        data: t.Optional[t.Union[bytes, t.Mapping[str, str]]],
        headers: t.Optional[t.Mapping[str, str]],
    ) -> Answer:
        thing = self._thing(method, path)
        began = time.time()
        try:
            # verify is given here, as requests lets REQUESTS_CA_BUNDLE win over the session. Redirects could carry the login elsewhere.
            response = self._session.request(
                method,
                self.url + path,
                params=params,
                data=data,
                headers=headers,
                timeout=self.timeout,
                verify=self.verify,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise Unreachable(
                thing, "TLS failed: {}.".format(_root_cause(error)), "Check the certificate and ca_path.", transient=False
            ) from None
        except requests.exceptions.ConnectTimeout:
            raise Unreachable(thing, "no connection within {:g} s.".format(self.timeout)) from None
        except requests.exceptions.Timeout:
            raise Unreachable(thing, "no answer within {:g} s.".format(self.timeout), ambiguous=True) from None
        except requests.exceptions.RequestException as error:
            cause = _root_cause(error)
            raise Unreachable(thing, "the connection failed: {}.".format(cause), ambiguous=not _never_sent(error)) from None
        self._note_clock(response.headers.get("Date"), began, time.time())
        return Answer(response.status_code, response.headers, response.content)

    def _note_clock(self, date: t.Optional[str], began: float, ended: float) -> None:
        parsed = email.utils.parsedate_tz(date) if date else None
        if parsed:
            # The header has whole seconds, so its middle is half a second later on average.
            self.clock_skew = email.utils.mktime_tz(parsed) + 0.5 - (began + ended) / 2

    def _raise_for_status(self, answer: Answer, method: str, path: str, redirects: bool = False) -> None:
        status = answer.status
        if status < 300 or (redirects and status < 400):
            return
        thing = self._thing(method, path)
        if status < 400:
            raise NotTheApi(thing, "the answer ({}) leads elsewhere.".format(status), "Is single sign-on in the way?", transient=False)
        if status == 401:
            raise LoginRefused(
                thing,
                "the login was refused (401).",
                _LOGIN_HINT.format(self.credentials.username or self.credentials.client_id),
            )
        try:
            error = answer.json(thing).get("error")
        except NotTheApi as page:
            error = {"message": page.cause}
        error = error if isinstance(error, dict) else {"message": str(error or "")}
        raise StatusError(
            thing,
            status,
            str(error.get("message") or ""),
            str(error.get("detail") or ""),
            ambiguous=status >= 500,
            pause=_seconds(answer.headers.get("Retry-After")),
        )

    def _checked(self, answer: Answer, method: str, path: str) -> t.Dict[str, t.Any]:
        thing = self._thing(method, path)
        if answer.status == 204 and not answer.body:
            return {}
        value = answer.json(thing, ambiguous=method != "GET")
        error = value.get("error")
        if error:
            # An instance may report an error in a 200 answer, beside the part of the result it had.
            error = error if isinstance(error, dict) else {"message": str(error)}
            raise StatusError(thing, 500, str(error.get("message") or ""), str(error.get("detail") or ""), ambiguous=True)
        return value

    def _need_token(self) -> None:
        who = self.credentials
        if not who.client_id or self._login.token is not None:
            return
        form = {"grant_type": who.grant_type, "client_id": who.client_id, "client_secret": who.client_secret or ""}
        if who.grant_type == "password":
            form.update(username=who.username or "", password=who.password or "")
        answer = self._once("POST", "/oauth_token.do", None, form, None)
        thing = self._thing("POST", "/oauth_token.do")
        if answer.status in (400, 401, 403):
            raise LoginRefused(thing, "no token was given ({}).".format(answer.status), _LOGIN_HINT.format(who.username or who.client_id))
        self._raise_for_status(answer, "POST", "/oauth_token.do")
        token = answer.json(thing).get("access_token")
        if not token:
            raise LoginRefused(thing, "the answer carries no token.")
        self._login.token = str(token)

    def _pause(self, attempt: int, error: RestError) -> None:
        asked = getattr(error, "pause", None)
        if asked is not None and asked > self.longest_pause:
            error.cause += " It asks for a pause of {:g} s, more than the {:g} s allowed here.".format(asked, self.longest_pause)
            raise error
        # Full jitter, so that workers that failed together do not come back together.
        backoff = random.uniform(0, min(self.longest_pause, 0.5 * 2**attempt))
        self._sleep(backoff if asked is None else asked + random.uniform(0, 1))


_LOGIN_HINT = (
    "Check user {} and its password. Newer releases also refuse basic authentication to users without the role "
    "snc_basic_auth_api_access (or web service access only), and to users with multi-factor authentication."
)


def _root_cause(error: BaseException) -> str:
    """Return the innermost message, which names the reason without the noise (and the query) around it."""
    reason = error  # type: t.Any
    while True:
        inner = getattr(reason, "reason", None) or next(
            (part for part in getattr(reason, "args", ()) if isinstance(part, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        reason = inner
    text = str(reason)
    # urllib3 puts the connection object in front of the text.
    return text.split(">: ", 1)[-1].rstrip(".") or type(reason).__name__


def _never_sent(error: BaseException) -> bool:
    """Say whether a connection error came before the request was on its way."""
    while error is not None:
        if type(error).__name__ in (
            "NewConnectionError",
            "NameResolutionError",
            "ConnectTimeoutError",
            "ProxyError",
            "ConnectionRefusedError",
        ):
            return True
        error = getattr(error, "reason", None) or next(  # type: ignore[assignment]
            (part for part in error.args if isinstance(part, BaseException)), None
        )
    return False


def _seconds(header: t.Optional[str]) -> t.Optional[float]:
    """Return the seconds of a Retry-After header in either of its forms."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    parsed = email.utils.parsedate_tz(header)
    return max(0.0, email.utils.mktime_tz(parsed) - time.time()) if parsed else None
