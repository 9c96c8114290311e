# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a module's real main() in-process, with the real AnsibleModule, and get its real result."""

import contextlib
import importlib
import io
import json
import sys
import typing as t

import pytest


class ModuleResult(dict):
    """The JSON a module printed, and whether it failed."""

    @property
    def failed(self) -> bool:
        return bool(self.get("failed"))


@pytest.fixture
def run_module(monkeypatch, tmp_path):
    """Return a function C(run(name, args, check=False, diff=False)) that runs a module of the collection."""

    def run(name: str, args: t.Dict[str, t.Any], *, check: bool = False, diff: bool = False) -> ModuleResult:
        from ansible.module_utils import basic
        from ansible.module_utils.common import parameters, warnings

        module = importlib.import_module("ansible_collections.edge_encryption.clone.plugins.modules." + name)
        params = dict(args, _ansible_check_mode=check, _ansible_diff=diff, _ansible_remote_tmp=str(tmp_path), _ansible_tmpdir=str(tmp_path))
        if "inject_invocation" in parameters.PASS_VARS:  # without it, ansible-core 2.21 keeps the arguments to itself
            params["_ansible_inject_invocation"] = True
        output = io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode())
            # ansible-core 2.19 and newer name the serialization profile of the arguments.
            patch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
            # A test that imports the controller's side would send warnings to the terminal instead of into the result.
            with contextlib.suppress(ImportError):
                from ansible.module_utils import _internal

                patch.setattr(_internal, "is_controller", False, raising=False)
            # Ansible keeps warnings for the life of a process, which is one module's elsewhere.
            for name in ("_global_warnings", "_global_deprecations"):
                patch.setattr(warnings, name, type(getattr(warnings, name))())
            patch.setattr(sys, "stdout", output)
            with pytest.raises(SystemExit):
                module.main()
        return ModuleResult(json.loads(output.getvalue().strip().splitlines()[-1]))

    return run
