"""GraphQL at `/v0/gql`: what official SDKs' suites and tools read runs with.

Everything that needs graphql-core is imported with the first request, so a server that nobody asks
starts as fast as without.
"""

from stepwell.server.api.graphql.endpoint import GraphQL

__all__ = ["GraphQL"]
