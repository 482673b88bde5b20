# Copyright: the pgrescue authors. Apache-2.0
"""What every module that speaks to object stores says about them."""


class ModuleDocFragment:
    """The option `stores`."""

    DOCUMENTATION = """
options:
  stores:
    description: The object stores that hold copies of records.
    type: list
    elements: dict
    required: true
    suboptions:
      url: {description: Address of the store., type: str, required: true}
      bucket: {description: Name of the bucket., type: str, required: true}
      region: {description: Region of the store., type: str, required: true}
      key: {description: Access key., type: str, required: true}
      secret: {description: Secret key., type: str, required: true}
      ca_file: {description: Certificates that vouch for the store; the system's when left out., type: path}
      retain_days:
        description: How long a sealed record is locked in a bucket that has Object Lock and no default retention, in days.
        type: int
"""
