"""The RPC methods: from messages to services and back."""
