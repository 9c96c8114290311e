# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is calling: Basic, OAuth bearer token, API key, or the cookie of a session."""

from __future__ import annotations

import base64
import binascii
import secrets
import typing as t
from http.cookies import CookieError, SimpleCookie

from . import passwords
from .acl import Caller
from .http import Call, Problem, Reply, html_reply, json_reply
from .query import utc_now
from .sessions import COOKIE, Session
from .store import Row

if t.TYPE_CHECKING:
    from .instance import Instance

REFRESH_SECONDS = 8640000


def not_authenticated(headers: t.Mapping[str, str] | None = None) -> Problem:
    challenge = {"WWW-Authenticate": 'BASIC realm="Service-now"', **(headers or {})}
    return Problem(401, "User Not Authenticated", "Required to provide Auth information", challenge)


def authenticate(instance: Instance, call: Call) -> Caller:
    """Return the caller of a request, in the session of its cookie where that is his."""
    session = instance.sessions.get(session_cookie(call))
    header = call.headers.get("authorization", "")
    if header:
        user = _by_header(instance, header)
    elif "x-sn-apikey" in call.headers:
        key = instance.store.first("api_key", token=call.headers["x-sn-apikey"], active="true")
        user = _enabled(instance.store.get("sys_user", key["user"]) if key else None)
    elif session:
        user = _enabled(instance.store.get("sys_user", session.user_id))
    else:
        raise not_authenticated()
    if session is None or session.user_id != user["sys_id"]:
        session = instance.sessions.open(user["sys_id"])
    return caller_for(instance, user, session, call.headers.get("x-edge-proxy", ""))


def caller_for(instance: Instance, user: Row, session: Session, via_proxy: str = "") -> Caller:
    roles = instance.acl.roles(user["sys_id"])
    return Caller(user["sys_id"], user["user_name"], user["time_zone"], roles, session, via_proxy)


def session_cookie(call: Call) -> str | None:
    try:
        morsel = SimpleCookie(call.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None


def _enabled(user: Row | None) -> Row:
    if user is None or user["active"] != "true" or user["locked_out"] == "true":
        raise not_authenticated()
    return user


def password_user(instance: Instance, name: str, password: str) -> Row:
    """Return the user of a name and password."""
    user = _enabled(instance.store.first("sys_user", user_name=name) if name else None)
    if not passwords.check_password(password, user["user_password"]):
        raise not_authenticated()
    if user["user_name"] in instance.knobs["mfa_users"]:
        raise not_authenticated({"X-MFA_TOKEN": "invalid"})
    return user


def _by_header(instance: Instance, header: str) -> Row:
    scheme, dummy, value = header.partition(" ")
    if scheme.lower() == "bearer":
        token = instance.store.first("oauth_credential", token=value.strip(), type="access_token")
        if token is None or token["expires"] <= utc_now():
            raise not_authenticated()
        return _enabled(instance.store.get("sys_user", token["user"]))
    if scheme.lower() != "basic":
        raise not_authenticated()
    try:
        name, dummy, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise not_authenticated() from None
    user = password_user(instance, name, password)
    if instance.knobs["basic_auth_restricted"]:
        machine = user["web_service_access_only"] == "true" or user["identity_type"].lower() == "machine"
        if not machine and "snc_basic_auth_api_access" not in instance.acl.roles(user["sys_id"]):
            raise not_authenticated()
    return user


def oauth_token(instance: Instance, call: Call) -> Reply:
    """``POST /oauth_token.do``: password, client_credentials and refresh_token."""
    form = call.form()
    entity = instance.store.first("oauth_entity", client_id=form.get("client_id", ""), active="true")
    if entity is None or not entity["client_id"] or entity["client_secret"] != form.get("client_secret", ""):
        return _oauth_error("invalid_client", "access_denied")
    grant = form.get("grant_type", "")
    refresh = ""
    if grant == "password":
        try:
            user_id = password_user(instance, form.get("username", ""), form.get("password", ""))["sys_id"]
        except Problem:
            return _oauth_error("server_error", "access_denied")
    elif grant == "client_credentials":
        user_id = entity["user"]
        if not user_id:
            return _oauth_error("server_error", "access_denied")
    elif grant == "refresh_token":
        token = instance.store.first("oauth_credential", token=form.get("refresh_token", ""), type="refresh_token", peer=entity["sys_id"])
        if token is None or token["expires"] <= utc_now():
            return _oauth_error("invalid_grant", "access_denied")
        user_id, refresh = token["user"], token["token"]
    else:
        return _oauth_error("unsupported_grant_type", "unsupported grant_type", 400)

    seconds = instance.knobs["token_seconds"]

    def issue(kind: str, lifetime: float) -> str:
        value = secrets.token_urlsafe(48)
        values = {"name": entity["name"], "type": kind, "token": value, "user": user_id, "peer": entity["sys_id"]}
        instance.records.insert("oauth_credential", {**values, "expires": utc_now(lifetime)}, "system")
        return value

    answer = {"access_token": issue("access_token", seconds)}
    if grant != "client_credentials":
        answer["refresh_token"] = refresh or issue("refresh_token", REFRESH_SECONDS)
    return json_reply(200, {**answer, "scope": "useraccount", "token_type": "Bearer", "expires_in": seconds})


def _oauth_error(error: str, description: str, status: int = 401) -> Reply:
    return json_reply(status, {"error": error, "error_description": description})


def login(instance: Instance, call: Call) -> Reply:
    """``/login.do``: a session by user name and password, as a browser gets one."""
    if call.method != "POST":
        return html_reply(200, "Log in", '<form method="post"><input name="user_name"/><input name="user_password"/></form>')
    form = call.form()
    try:
        user = password_user(instance, form.get("user_name", ""), form.get("user_password", ""))
    except Problem:
        return html_reply(200, "Log in", "User name or password invalid")
    call.caller = caller_for(instance, user, instance.sessions.open(user["sys_id"]))
    return html_reply(302, "Welcome", headers={"Location": "/welcome.do"})
