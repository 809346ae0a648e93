"""What a user would pick instead: two forwarders of an afternoon, measured beside this one."""
