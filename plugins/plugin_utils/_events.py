# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This util is private to the collection: it may change without notice.

"""What the event sources share: checked arguments, a memory that survives a restart, and looking again and again.

An event is put on the queue first and remembered afterwards. Whoever is killed in between puts it there once more: nothing is lost, something
may come twice.
"""

import asyncio
import json
import logging
import os
import re
import time
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._files import read, write_private
from ansible_collections.edge_encryption.clone.plugins.module_utils._http import REQUESTS_IMPORT_ERROR, Client, Hibernating, LoginRefused, RestError
from ansible_collections.edge_encryption.clone.plugins.module_utils._instance_args import client_of, instance_spec
from ansible_collections.edge_encryption.clone.plugins.module_utils._table import renamed

FORMAT = 1
LONGEST_LOGIN_PAUSE = 300.0
# What ansible-rulebook itself adds to the arguments of a source.
FOREIGN = ("feedback", "eda_feedback_queue")

Event = t.Dict[str, t.Any]
Entry = t.Dict[str, t.Any]
Memory = t.Dict[str, Entry]


class CursorError(EdgeError):
    """The file that remembers what was told cannot be used."""


class Step(t.NamedTuple):
    """What to tell, if anything, and what to remember about that thing from then on (None: forget it)."""

    key: str
    entry: t.Optional[Entry]
    event: t.Optional[Event]


class Watch:
    """Something that changes. C(memory) is what was told of it, None before the first look of all; C(notes) is what the last look could not see.

    Args:
        client: of the instance that is asked.
    """

    memory = None  # type: t.Optional[Memory]
    notes = ()  # type: t.Sequence[str]

    def __init__(self, client: Client) -> None:
        self.client = client

    def now(self) -> float:
        """Return the time by the clock of the instance, which starts clones and writes down when it heard of a proxy."""
        return time.time() + (self.client.clock_skew or 0)

    def look(self) -> t.List[Step]:
        """Ask, and return what is new. Changes nothing here, so that it can be asked again after a failure."""
        raise NotImplementedError

    def by_clock(self) -> t.List[Step]:
        """Return what is new because time has passed; asks nobody."""
        return []

    def seconds_left(self) -> t.Optional[float]:
        """Return the seconds until C(by_clock) has something to tell, None if that cannot be said."""
        return None


def checked(args: t.Mapping[str, t.Any], spec: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Return the arguments of a source with their types and defaults.

    Raises:
        EdgeError: one is missing, not known or not what it should be. It never carries a value of C(instance).
    """
    if REQUESTS_IMPORT_ERROR:
        raise EdgeError("requests", "this Python package is missing where ansible-rulebook runs.", "Install it for its Python, or in the decision environment.")
    options = dict(spec, instance=instance_spec(), interval={"type": "float", "default": 60}, cursor={"type": "path", "required": True})
    given = {name: value for name, value in args.items() if name not in FOREIGN}
    given["instance"] = given.get("instance") or {}  # all of it may be in the environment
    if not isinstance(given["instance"], dict):
        raise EdgeError("instance", "it is no dictionary.")
    renamed(options, given, "arguments")  # refuses what is not known
    renamed(options["instance"]["options"], given["instance"], "instance")
    result = ArgumentSpecValidator(options).validate(given)
    if result.error_messages:
        raise EdgeError("arguments", "{0}.".format("; ".join(result.error_messages).rstrip(".")), "See the documentation of the source.")
    if result.validated_parameters["interval"] <= 0:
        raise EdgeError("interval", "it must be more than 0.")
    return result.validated_parameters


def client_for(params: t.Mapping[str, t.Any]) -> Client:
    """Return a client that leaves all waiting to the source, which goes on keeping time meanwhile."""
    return client_of(params["instance"], attempts=1)


class Cursor:
    """A file of mode 0600, replaced in one step, that says what was told.

    Args:
        path: the file; its folder must be there.
        about: what the source watches; a file about anything else is refused.
    """

    def __init__(self, path: str, about: t.Mapping[str, str]) -> None:
        self.path = path
        self.about = dict(about)
        self._written = b""
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            raise CursorError(path, "its folder is not there or cannot be written to.", "Make one that survives a restart, for its account.")

    def load(self) -> t.Optional[Memory]:
        """Return what was told, None if there is no file yet."""
        if not os.path.exists(self.path):
            return None
        data = read(self.path, "cursor")
        try:
            content = json.loads(data.decode("utf-8"))
            version, about, memory = content["format"], content["about"], content["memory"]
        except (ValueError, TypeError, KeyError):
            raise CursorError(self.path, "it is no cursor of an event source.", "Name another file, or delete this one to begin anew.") from None
        if version != FORMAT:
            raise CursorError(self.path, "a release with another format ({0}) wrote it.".format(version), "Delete it to begin anew.")
        if about != self.about:
            raise CursorError(self.path, "it is about {0}, not about {1}.".format(_words(about), _words(self.about)), "Give each source a file of its own.")
        self._written = data
        return memory

    def save(self, memory: Memory) -> None:
        """Write what was told, unless the file says so already."""
        content = {"format": FORMAT, "about": self.about, "memory": memory}
        data = json.dumps(content, indent=1, sort_keys=True).encode("utf-8")
        if data != self._written:
            write_private(self.path, data)
            self._written = data


def _words(about: t.Mapping[str, t.Any]) -> str:
    return ", ".join("{0} {1}".format(name, value) for name, value in sorted(about.items())) if isinstance(about, dict) else "something else"


class Source:
    """Looks again and again, and puts each change on the queue once it is seen.

    It goes on through all that passes: no answer, an error of the server, a rate limit (as long as it asks for), maintenance, a sleeping
    instance. What does not pass, such as a wrong password, ends it.

    Args:
        queue: where events go.
        watch: what is looked at.
        cursor: the file that remembers.
        interval: seconds between two looks.
        log: where it says what it lives through.
        login_may_fail: whether a login may be refused for a while, once it has worked. Tries become rare then, because accounts lock.
    """

    def __init__(self, queue: t.Any, watch: Watch, cursor: Cursor, interval: float, log: logging.Logger, login_may_fail: bool = False) -> None:
        self.queue = queue
        self.watch = watch
        self.cursor = cursor
        self.interval = interval
        self.log = log
        self.login_may_fail = login_may_fail
        self._trouble = ""
        self._worked = False
        self._login_pause = interval
        self._noted = set()  # type: t.Set[str]

    async def run(self) -> None:
        self.watch.memory = self.cursor.load()
        while True:
            pause = await self._look()
            await self._keep_time(pause)

    async def _look(self) -> float:
        """Look once; returns the seconds until the next time."""
        try:
            steps = await asyncio.to_thread(self.watch.look)
        except RestError as error:
            return self._wait_for(error)
        if self._trouble:
            self.log.warning("It answers again.")
        self._trouble, self._worked, self._login_pause = "", True, self.interval
        for note in self.watch.notes:
            if note not in self._noted:
                self._noted.add(note)
                self.log.warning("Not all can be seen: %s", note)
        await self._tell(steps)
        return self.interval

    async def _keep_time(self, pause: float) -> None:
        """Let a pause pass, and tell meanwhile what is due."""
        loop = asyncio.get_running_loop()
        end = loop.time() + pause
        while True:
            await self._tell(self.watch.by_clock())
            left = end - loop.time()
            if left <= 0:
                return
            due = self.watch.seconds_left()
            await asyncio.sleep(left if due is None else max(0.01, min(left, due)))

    def _wait_for(self, error: RestError) -> float:
        refused = isinstance(error, LoginRefused)
        if refused and self._worked and self.login_may_fail:
            self._login_pause = min(LONGEST_LOGIN_PAUSE, self._login_pause * 2)
            pause = self._login_pause
        elif not refused and (error.transient or isinstance(error, Hibernating)):
            pause = max(self.interval, getattr(error, "pause", None) or 0)
        else:
            raise error
        if str(error) != self._trouble:
            self._trouble = str(error)
            self.log.warning("%s The next look is in %.0f s.", error, pause)
        return pause

    async def _tell(self, steps: t.Sequence[Step]) -> None:
        if not steps and self.watch.memory is not None:
            return
        if self.watch.memory is None:
            if not self._worked:
                return  # nothing was seen yet, which is not the same as that nothing is there
            self.watch.memory = {}
        # What is only remembered comes first: after a crash among the events it must not look as if it were new.
        for step in steps:
            if step.event is None:
                self._remember(step)
        await asyncio.to_thread(self.cursor.save, self.watch.memory)
        for step in steps:
            if step.event is not None:
                await self.queue.put(step.event)
                self._remember(step)
                await asyncio.to_thread(self.cursor.save, self.watch.memory)

    def _remember(self, step: Step) -> None:
        memory = t.cast(Memory, self.watch.memory)
        if step.entry is None:
            memory.pop(step.key, None)
        else:
            memory[step.key] = step.entry


def never_template(value: t.Any) -> t.Any:
    """Return text of an instance in a form that no template engine takes for a template: whoever can write a record must not run code here."""
    if isinstance(value, str):
        return re.sub(r"\{(?=[{%#])", "{ ", value)
    if isinstance(value, dict):
        return {name: never_template(each) for name, each in value.items()}
    return [never_template(each) for each in value] if isinstance(value, list) else value
