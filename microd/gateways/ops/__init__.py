"""The door for operators: metrics, liveness and readiness."""
