"""All endpoints of the collector."""

from fourfold.serve.collector import batches, events, lineage, records, runs
from fourfold.serve.routes import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = tuple(
    endpoint for module in (batches, records, runs, events, lineage) for endpoint in module.ENDPOINTS
)
