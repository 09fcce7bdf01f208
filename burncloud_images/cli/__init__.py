"""
The command line: arguments become a request, `client.send` sends it, and results go to stdout.

Options, their names and their help are derived from the request classes. Everything but results goes to stderr. Heavy
imports wait until a command needs them, so that `--help` is quick.
"""
