"""Proxies that ask before they let a request pass: Envoy by gRPC, others by HTTP forward-auth; one core for all."""
