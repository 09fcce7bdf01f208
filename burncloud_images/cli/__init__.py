"""
The command line: words become request values, `client.send` does the work, results go to stdout.

It knows no parameter of the API: options, their names and their help are read off the request classes. Whatever is not
a result goes to stderr. Nothing heavy is imported before a command needs it, so that `--help` is quick.
"""
