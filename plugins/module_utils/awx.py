"""What AWX is told of a runbook, and what it says of an approval."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from .guards import Stop

TYPES = {"int": "integer", "float": "float", "bool": "multiplechoice"}  # of a survey; everything else is text
NO_QUESTION = ("list", "dict", "raw")  # what a survey cannot ask for


def survey(meta: Mapping[str, Any], playbook: str, given: Iterable[str] = ()) -> "dict[str, Any]":
    """The survey of a runbook: its arguments as `playbooks/<name>.meta.yml` declares them, but for those that are given.

    A question has no default: what is left out is not handed over, so that the runbook's own default counts.
    """
    options = meta["argument_specs"][playbook].get("options") or {}
    asked = [
        _question(name, said)
        for name, said in options.items()
        if name not in set(given) and said.get("type", "str") not in NO_QUESTION
    ]
    return {"name": "", "description": "", "spec": asked}


def _question(name: str, said: Mapping[str, Any]) -> "dict[str, Any]":
    kind = "multiplechoice" if said.get("choices") else TYPES.get(said.get("type", "str"), "text")
    words = said.get("description", "")
    choices = said.get("choices") or (["true", "false"] if kind == "multiplechoice" else [])
    return {
        "variable": name,
        "question_name": name,
        "question_description": " ".join(words) if isinstance(words, list) else str(words),
        "required": bool(said.get("required")),
        "type": kind,
        **({"choices": [str(one) for one in choices]} if choices else {}),
    }


def references(credentials: Iterable[Mapping[str, Any]]) -> "list[dict[str, Any]]":
    """Where each secret of each credential is: C(credential), C(field), C(metadata)."""
    return [
        {"credential": one["name"], "field": field, "metadata": metadata}
        for one in credentials
        for field, metadata in one["secrets"].items()
    ]


def nodes(gate: Iterable[Mapping[str, Any]], runbook: str, organization: str) -> "list[dict[str, Any]]":
    """The nodes of a runbook's workflow as AWX takes them.

    The one without a template is the approval, which is made before: by awx.awx 24.6.1 a workflow's own list of nodes would
    say of every approval in it, each time, that it was changed.
    """
    return [_node(one, runbook, organization) for one in gate]


def _node(one: Mapping[str, Any], runbook: str, organization: str) -> "dict[str, Any]":
    template = one.get("template")
    works: "dict[str, Any]" = {"name": "", "type": ""}
    if template:
        name = runbook if template == "runbook" else template
        works = {"name": name, "type": "job_template", "organization": {"name": organization}}
    then = {"%s_nodes" % way: [{"identifier": to} for to in one.get(way, [])] for way in ("success", "failure")}
    return {
        "identifier": one["identifier"],
        "unified_job_template": works,
        "related": {k: v for k, v in then.items() if v},
    }


def approval_of(nodes: Iterable[Mapping[str, Any]], identifier: str) -> int:
    """The id of the approval at a workflow's node, by the workflow's nodes as AWX lists them."""
    for node in nodes:
        job = (node.get("summary_fields") or {}).get("job") or {}
        if node.get("identifier") == identifier and job.get("type") == "workflow_approval":
            return int(job["id"])
    raise Stop("This workflow has no approval at its node %s. Nothing was changed." % identifier)


def verdict(approval: Mapping[str, Any], workflow_job: int) -> "dict[str, str]":
    """Who pressed the button, and which: C(approver), C(verdict) and C(reason), as a gate's record wants them.

    AWX asks for no reason; the record names the approval, where AWX keeps when and by whom it was given.
    """
    name = ((approval.get("summary_fields") or {}).get("approved_or_denied_by") or {}).get("username")
    said = {"successful": "approved", "failed": "denied"}.get(str(approval.get("status")))
    where = "approval %s of workflow job %s" % (approval.get("id"), workflow_job)
    if said is None or approval.get("timed_out") or not name:
        raise Stop("Nobody decided on %s of AWX (%s). Nothing was changed." % (where, approval.get("status")))
    return {"approver": "%s@awx" % name, "verdict": said, "reason": "%s in AWX" % where}
