"""Whether Cometly recorded what was delivered: the ledger's day beside Cometly's list of events."""
