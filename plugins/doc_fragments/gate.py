# Copyright: the pgrescue authors. Apache-2.0
"""What modules that look at a gate say about it."""

from __future__ import annotations


class ModuleDocFragment:
    """Options that name a gate and the policy it is judged by."""

    DOCUMENTATION = """
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  gate: {description: Name of the gate; C(plan) is the one before anything is changed., type: str, default: plan}
  operator: {description: Who is at work., type: str, required: true}
  policy:
    description: What the service wants of its gates.
    type: dict
    required: true
    suboptions:
      second_person: {description: 'Whether somebody else than the operator must approve too, with a reason.', type: bool, required: true}
      expires_s: {description: How long an approval counts., type: float, required: true}
      plan_expires_s: {description: How old a plan may be when the run begins to change something., type: float, required: true}
      unattended: {description: Whether the inventory lets the procedure go on without asking the operator., type: bool, default: false}
"""
