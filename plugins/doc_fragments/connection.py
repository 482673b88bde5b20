# Copyright: the pgrescue authors. Apache-2.0
"""What every module that asks a local server says about reaching it."""


class ModuleDocFragment:
    """The options of `postgres.CONNECTION_ARGUMENTS`."""

    DOCUMENTATION = """
options:
  version: {description: Major version of PostgreSQL., type: int, required: true}
  port: {description: Port of the server., type: int, default: 5432}
  socket_directory: {description: Where its socket is., type: path, default: /var/run/postgresql}
"""
