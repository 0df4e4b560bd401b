"""The revisions, one file each; released ones are never edited."""
