"""One JSON document for each namespace, addressed by dotted paths, with secrets, watchers and a history."""
