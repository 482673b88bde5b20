#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Replicate a bucket of Amazon S3 into another one."""

from __future__ import annotations

DOCUMENTATION = """
module: bucket_replication
short_description: Replicate a bucket of Amazon S3 into another one
description:
  - Sees to one replication rule of a bucket, leaves its other rules alone, and reads back what it wrote.
  - Refuses a rule that AWS documents as wrong or incomplete, and buckets that keep no versions, before anything is written.
  - Replication is no second copy in the sense of a backup - it repeats an overwritten object and, if wanted, a deletion. A second
    repository of pgBackRest with credentials of its own is what protects; this may come on top.
  - Tested against the documented contract, with moto's server and botocore's model of S3 Control, never against Amazon itself.
options:
  state: {description: Whether the rule shall be there., type: str, choices: [present, absent], default: present}
  rule_id: {description: Name of the rule., type: str, required: true}
  role_arn: {description: The role that S3 takes to replicate; needed unless C(state) is C(absent)., type: str}
  prefix: {description: What is replicated; everything when empty., type: str, default: ''}
  priority: {description: 'Which rule wins where several match; higher is stronger.', type: int, default: 1}
  delete_markers: {description: Whether deletions are repeated., type: bool, default: false}
  storage_class: {description: How replicas are stored; as the source when left out., type: str}
  kms_key: {description: Key for the replicas of objects that KMS encrypted., type: str}
  time_control: {description: 'Whether Amazon promises 15 minutes, and tells of what is late.', type: bool, default: false}
  account: {description: Account that shall own the replicas., type: str}
  existing: {description: Whether what was there before the rule is copied too by S3 Batch Replication., type: bool, default: false}
  batch_role_arn: {description: The role that batch jobs take; needed with C(existing)., type: str}
  control_url: {description: Address of S3 Control; Amazon's own for the region when left out., type: str}
extends_documentation_fragment: [pgrescue.runbooks.bucket_pair]
attributes:
  check_mode: {support: full, description: Looks only.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Replicate the backups to another region
  pgrescue.runbooks.bucket_replication:
    source: {url: "https://s3.eu-west-3.amazonaws.com", bucket: orders-backups, region: eu-west-3, key: id, secret: "{{ vault_s3 }}"}
    destination: {url: "https://s3.eu-south-1.amazonaws.com", bucket: orders-copies, region: eu-south-1, key: id, secret: "{{ vault_s3 }}"}
    rule_id: pgrescue
    role_arn: arn:aws:iam::123456789012:role/s3-replication
    prefix: orders/
    time_control: true
  delegate_to: localhost
"""

RETURN = """
configuration: {description: The bucket's replication configuration; null when it has none., returned: success, type: dict}
job: {description: Id of the batch job for existing objects; null where none is wanted., returned: success, type: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, replication, replication_rule, stores

STORE = {"type": "dict", "required": True, "options": stores.ARGUMENT["options"]}
OF_RULE = ("prefix", "priority", "delete_markers", "storage_class", "kms_key", "time_control", "account")


def wanted_rule(p: "dict[str, object]") -> "dict[str, object]":
    """The rule as it was asked for."""
    arn = replication_rule.bucket_arn(p["destination"]["bucket"], p["role_arn"])
    return replication_rule.rule(p["rule_id"], arn, **{name: p[name] for name in OF_RULE})


def wanted_configuration(
    p: "dict[str, object]", s3: object, existing: "dict[str, object] | None"
) -> "dict[str, object]":
    """The whole configuration, or why it must not be written."""
    others = [rule for rule in (existing or {}).get("Rules", []) if rule.get("ID") != p["rule_id"]]
    if others and existing["Role"] != p["role_arn"]:
        raise guards.Stop(
            "Bucket %s has other rules, and they replicate as %s; a bucket has one role for all its rules. Nothing was changed. "
            "Give role_arn that role, or remove the other rules." % (p["source"]["bucket"], existing["Role"])
        )
    wanted = replication_rule.merged(existing, p["role_arn"], wanted_rule(p))
    wrong = replication_rule.problems(wanted)
    if wrong:
        raise guards.Stop("The replication rule would not do what it says. Nothing was changed. %s" % " ".join(wrong))
    for side, client in (("source", s3), ("destination", stores.client(p["destination"]))):
        replication.need_versions(client, p[side]["bucket"])
    return wanted


def existing_objects(p: "dict[str, object]", check: bool) -> "tuple[str | None, bool]":
    """See to the job that copies what was there before the rule."""
    account = replication_rule.ROLE.match(p["role_arn"]).group(2)
    arn = replication_rule.bucket_arn(p["source"]["bucket"], p["role_arn"])
    request = replication_rule.token(account, p["source"]["bucket"], wanted_rule(p))
    job = replication_rule.batch_job(account, arn, p["batch_role_arn"], request, p["rule_id"], [p["prefix"]])
    return replication.job_for(replication.control(p["source"], p["control_url"]), job, check)


def main() -> None:
    """Compare, write what differs, read it back."""
    text = {"type": "str"}
    module = AnsibleModule(
        argument_spec={
            "source": STORE,
            "destination": STORE,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "rule_id": {"type": "str", "required": True},
            "prefix": {"type": "str", "default": ""},
            "priority": {"type": "int", "default": 1},
            "delete_markers": {"type": "bool", "default": False},
            "time_control": {"type": "bool", "default": False},
            "existing": {"type": "bool", "default": False},
            **dict.fromkeys(("role_arn", "storage_class", "kms_key", "account", "batch_role_arn", "control_url"), text),
        },
        required_if=[("state", "present", ["role_arn"]), ("existing", True, ["batch_role_arn"])],
        supports_check_mode=True,
    )
    p, job, made = module.params, None, False
    present = p["state"] == "present"
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        s3 = stores.client(p["source"])
        existing = replication.configuration(s3, p["source"]["bucket"])
        if present:
            wanted = wanted_configuration(p, s3, existing)
        else:
            wanted = replication_rule.without(existing, p["rule_id"]) if existing else None
        changed = not replication_rule.same(existing, wanted)
        if changed and not module.check_mode:
            replication.write(s3, p["source"]["bucket"], wanted)
        if present and p["existing"]:
            job, made = existing_objects(p, module.check_mode)
    except guards.Stop as stop:
        guards.fail(module, stop)
    except (BotoCoreError, ClientError) as error:
        guards.fail(module, guards.Stop("The store refused or did not answer: %s" % error, guards.STEP_FAILED))
    module.exit_json(changed=changed or made, configuration=wanted, job=job)


if __name__ == "__main__":
    main()
