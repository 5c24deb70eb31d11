"""Generated from proto/microd/txgrpc/wire by scripts/protoc; never edited."""
