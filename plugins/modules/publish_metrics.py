#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Publish ages and results of a service's backups to Amazon CloudWatch."""

from __future__ import annotations

DOCUMENTATION = """
module: publish_metrics
short_description: Publish ages and results of a service's backups to Amazon CloudWatch
description:
  - Publishes for each repository and store how old the newest backup is and whether the newest attempt was one, 1 or 0, and what
    buckets take, how far a replica is behind, how many of Fly.io's checks do not pass. Each datum has the dimensions C(service),
    C(repo) and C(type).
  - What is not known is not published; the alarms of role C(cloudwatch) take what is missing for bad.
  - Run it every five minutes, on a machine that is none of the database's. Contract-tested only, against moto.
options:
  service: {description: Name of the service., type: str, required: true}
  facts:
    description:
      - What was observed, each where it was. C(repositories) as M(pgrescue.runbooks.repository_state) gives them, C(jobs) what scheduled
        backups wrote down on their hosts, C(dumps) of M(pgrescue.runbooks.dump_catalog), C(buckets) of
        M(pgrescue.runbooks.bucket_usage), C(replica) of M(pgrescue.runbooks.replication_lag), C(fly) of M(pgrescue.runbooks.fly_checks).
    type: dict
    required: true
  attempts_file: {description: Attempts to back up that were written down here., type: path}
  namespace: {description: Where the metrics are., type: str, default: pgrescue}
  region: {description: Region of the account., type: str, required: true}
  key: {description: Access key; found as boto3 does when left out., type: str}
  secret: {description: Secret key., type: str}
  url: {description: Another address than Amazon's., type: str}
attributes:
  check_mode: {support: full, description: Publishes nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Publish
  pgrescue.runbooks.publish_metrics:
    service: orders
    region: eu-west-3
    facts: {repositories: "{{ protection_repositories }}"}
  delegate_to: localhost
"""

RETURN = """
published:
  description: What was published.
  returned: success
  type: list
  elements: dict
  sample: [{MetricName: BackupAge, Dimensions: [{Name: service, Value: orders}, {Name: repo, Value: '1'}, {Name: type, Value: backup}],
            Timestamp: 1795556600.0, Value: 312.0, Unit: Seconds}]
"""

import json
import os
import time
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import cloudwatch_data, guards

MOST = 1000  # data of one request


def attempts(path: "str | None") -> "list[dict[str, object]]":
    """The lines of the file; none where nobody wrote one. One that a crash left unfinished says nothing."""
    if not path or not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as source:
        return [json.loads(line) for line in source if line.rstrip().endswith("}")]


def publish(p: "dict[str, object]", data: "list[dict[str, object]]") -> None:
    """Send all of it."""
    import boto3
    from botocore.config import Config

    limits = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 3, "mode": "standard"})
    client = boto3.session.Session().client(
        "cloudwatch",
        region_name=p["region"],
        endpoint_url=p["url"],
        aws_access_key_id=p["key"],
        aws_secret_access_key=p["secret"],
        config=limits,
    )
    dated = [{**one, "Timestamp": datetime.fromtimestamp(one["Timestamp"], timezone.utc)} for one in data]
    for start in range(0, len(dated), MOST):
        client.put_metric_data(Namespace=p["namespace"], MetricData=dated[start : start + MOST])


def main() -> None:
    """Fold what was observed, and publish it."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "facts": {"type": "dict", "required": True},
            "attempts_file": {"type": "path"},
            "namespace": {"type": "str", "default": "pgrescue"},
            "region": {"type": "str", "required": True},
            "key": {"type": "str"},
            "secret": {"type": "str", "no_log": True},
            "url": {"type": "str"},
        },
        required_together=[("key", "secret")],
        supports_check_mode=True,
    )
    p = module.params
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        facts = {**p["facts"], "attempts": attempts(p["attempts_file"])}
        data = cloudwatch_data.data(p["service"], facts, time.time())
        if not module.check_mode:
            publish(p, data)
    except (BotoCoreError, ClientError) as error:
        said = "CloudWatch refused or did not answer: %s. Its alarms take silence for bad, and will ring." % error
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED))
    module.exit_json(changed=not module.check_mode, published=data)


if __name__ == "__main__":
    main()
