"""Generated from proto/microd/testing/wire by scripts/protoc; never edited."""
