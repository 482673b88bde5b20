"""Run a module of the collection in the controller's own worker process, where it is asked to run on the controller.

Ansible starts a Python of its own for each module, which costs about as long as the module's work where that is to read or to write
some files of a run's record. A worker is a fork that ends with its task, so what a module does to its process stays there. A task
that runs elsewhere, or as another user, goes the usual way. meta/runtime.yml says which modules are run like this.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from typing import Any

from ansible.module_utils import basic
from ansible.module_utils.common.json import Direction, get_module_encoder
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    """What Ansible calls instead of its own way to run a module."""

    module: "str | None" = None  # another collection's, which runs in its place
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's answer."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        elsewhere = self._connection.transport != "local" or self._play_context.become
        if elsewhere or self._task.async_val or any(self._task.environment):
            result |= self._execute_module(
                module_name=self.module, task_vars=task_vars, wrap_async=self._task.async_val
            )
            return result
        name = self.module or self._task.resolved_action
        arguments = dict(self._task.args)
        self._update_module_args(name, arguments, task_vars)
        profile = "legacy"  # of the JSON that Ansible and its modules speak
        encoder = get_module_encoder(profile, Direction.CONTROLLER_TO_MODULE)
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, cls=encoder).encode()
        basic._ANSIBLE_PROFILE = profile
        module = importlib.import_module("ansible_collections.%s.%s.plugins.modules.%s" % tuple(name.split(".")))
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            module.main()
        answer = {"rc": 0, "stdout": said.getvalue(), "stdout_lines": [], "stderr": "", "stderr_lines": []}
        result |= self._parse_returned_data(answer, profile).as_result_dict(for_round_trip=True)
        return result
