"""community.general.nsupdate, run in the controller's own worker process: while a name is moved every client waits."""

from __future__ import annotations

from ansible_collections.pgrescue.runbooks.plugins.action import on_controller


class ActionModule(on_controller.ActionModule):
    """The same arguments, the same answer."""

    module = "community.general.nsupdate"
