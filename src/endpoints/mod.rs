//! Endpoints: router, discovery, OpenAPI, negotiation and one handler per verb.
