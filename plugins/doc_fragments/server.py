# Copyright: the pgrescue authors. Apache-2.0
"""What a module that asks a server, here or somewhere else, says about reaching it."""


class ModuleDocFragment:
    """The options of `postgres.SERVER_ARGUMENTS`."""

    DOCUMENTATION = """
options:
  version: {description: Major version the server must be of., type: int}
  port: {description: Port of the server on this host., type: int, default: 5432}
  socket_directory: {description: Where its socket is., type: path, default: /var/run/postgresql}
  url:
    description: A server somewhere else, as C(postgresql://user@host/); its database is not used. Give the password in a password file.
    type: str
"""
