# Copyright: the pgrescue authors. Apache-2.0
"""What every module that looks at a bucket and its replica says about them."""


class ModuleDocFragment:
    """The options `source` and `destination`."""

    DOCUMENTATION = """
options:
  source: &bucket
    description: The bucket that is replicated.
    type: dict
    required: true
    suboptions:
      url: {description: Address of the store., type: str, required: true}
      bucket: {description: Name of the bucket., type: str, required: true}
      region: {description: Region of the store., type: str, required: true}
      key: {description: Access key., type: str, required: true}
      secret: {description: Secret key., type: str, required: true}
      ca_file: {description: Certificates that vouch for the store; the system's when left out., type: path}
      retain_days: {description: Counts for records alone., type: int}
  destination:
    <<: *bucket
    description: The bucket that holds the replica.
"""
