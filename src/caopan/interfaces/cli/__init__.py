"""The command line: parses, calls one use case through bootstrap, shows the result.

Owns words on the screen and exit codes. Must never hold a rule of trading or touch a table.
"""
