"""The command of the process that holds the broker."""
