"""Use cases of the sandbox exchange on its own, without the desk."""
