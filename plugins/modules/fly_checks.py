#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Read what Fly.io's health checks say of an application."""

from __future__ import annotations

DOCUMENTATION = """
module: fly_checks
short_description: Read what Fly.io's health checks say of an application
description:
  - Lists the checks of all machines that run. Only looks. Contract-tested only.
  - An API that does not answer is an observation, told in C(problem).
options:
  url: {description: Where the Machines API is., type: str, default: 'https://api.machines.dev'}
  app: {description: Name of the application., type: str, required: true}
  token: {description: A token that may read its machines., type: str, required: true}
  timeout_s: {description: How long it may take to answer in seconds., type: int, default: 10}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See what Fly.io's checks say
  pgrescue.runbooks.fly_checks: {app: orders, token: "{{ application_fly_token }}"}
  delegate_to: localhost
"""

RETURN = """
fly:
  description: C(problem) instead of C(checks) where it did not answer. C(status) is passing, warning, critical or unknown.
  returned: always
  type: dict
  sample: {app: orders, problem: null, checks: [{machine: 18e4, name: health, status: passing, at: "2026-11-24T01:20:50Z"}]}
"""

import json
from urllib.error import HTTPError, URLError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import ConnectionError as NoConnection
from ansible.module_utils.urls import open_url
from ansible_collections.pgrescue.runbooks.plugins.module_utils import fly


def main() -> None:
    """Ask once."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "default": "https://api.machines.dev"},
            "app": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": True},
            "timeout_s": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    p = module.params
    seen = {"app": p["app"], "problem": None}
    try:
        answer = open_url(
            "%s/v1/apps/%s/machines" % (p["url"], p["app"]),
            headers={"Authorization": "Bearer " + p["token"]},
            timeout=p["timeout_s"],
            follow_redirects="none",  # it would take the token to somebody else
        )
        seen["checks"] = fly.checks(json.loads(answer.read()))
    except HTTPError as error:
        seen["problem"] = "it answered %d" % error.code
    except (URLError, NoConnection, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        seen["problem"] = "it could not be asked, or its answer not be read: %s" % error
    module.exit_json(changed=False, fly=seen)


if __name__ == "__main__":
    main()
