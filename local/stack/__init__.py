"""The whole service on one machine: emulator, sandbox, `sam build`, `sam deploy`."""
