"""What the server does, in the words of the domain: no gRPC, no stubs, no drivers."""
