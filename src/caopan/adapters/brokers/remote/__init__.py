"""A broker in a process of its own: messages, the server in front of it, the client behind."""
