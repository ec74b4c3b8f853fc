"""The operator's tool `billow-admin`: schema, tenants and keys, status, audit."""
