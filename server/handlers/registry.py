# ruff: noqa: N802 -- the methods are called as in the contract
"""RegistryService: tenants, API keys, sellers, number ranges, credit quotas. Round trips as its services say."""

from __future__ import annotations

from billow.registry.v1 import registry_pb2
from server.convert import registry
from server.interceptors import Access, Call
from server.services.credit_quota import CreditQuotaService
from server.services.registry import RegistryService

SERVICE = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"]
ACCESS = {
    "CreateTenant": Access("platform"),
    "ListTenants": Access("platform"),
    "CreateApiKey": Access("registry", or_scope="platform"),
    "ListApiKeys": Access("registry"),
    "RevokeApiKey": Access("registry"),
    "CreateSeller": Access("registry"),
    "GetSeller": Access("registry"),
    "ListSellers": Access("registry"),
    "AddNumberRange": Access("registry"),
    "ListNumberRanges": Access("registry"),
    "SetCreditQuota": Access("registry"),
    "ClearCreditQuota": Access("registry"),
    "GetCreditQuota": Access("registry"),
}


class RegistryHandlers:
    """The methods of billow.registry.v1.RegistryService."""

    def __init__(self, *, registry: RegistryService, quotas: CreditQuotaService) -> None:
        self._registry = registry
        self._quotas = quotas

    async def CreateTenant(
        self,
        request: registry_pb2.CreateTenantRequest,
        call: Call,  # noqa: ARG002 (every method gets it)
    ) -> registry_pb2.CreateTenantResponse:
        """Creates a tenant. Round trips: 1 primary."""
        created = await self._registry.create_tenant(tenant_id=request.tenant_id, display_name=request.display_name)
        return registry_pb2.CreateTenantResponse(tenant=registry.tenant(created))

    async def ListTenants(
        self,
        request: registry_pb2.ListTenantsRequest,
        call: Call,  # noqa: ARG002 (every method gets it)
    ) -> registry_pb2.ListTenantsResponse:
        """Lists tenants. Round trips: 1 primary."""
        page = await self._registry.list_tenants(page_size=request.page_size, page_token=request.page_token)
        tenants = [registry.tenant(item) for item in page.items]
        return registry_pb2.ListTenantsResponse(tenants=tenants, next_page_token=page.next_page_token)

    async def CreateApiKey(
        self, request: registry_pb2.CreateApiKeyRequest, call: Call
    ) -> registry_pb2.CreateApiKeyResponse:
        """Creates an API key. Round trips: 2 primary."""
        key, secret = await self._registry.create_api_key(
            call.caller, tenant_id=request.tenant_id, scopes=request.scopes, display_name=request.display_name
        )
        return registry_pb2.CreateApiKeyResponse(api_key=registry.api_key(key), secret=secret)

    async def ListApiKeys(
        self, request: registry_pb2.ListApiKeysRequest, call: Call
    ) -> registry_pb2.ListApiKeysResponse:
        """Lists the tenant's keys. Round trips: 1 primary."""
        page = await self._registry.list_api_keys(
            call.caller, page_size=request.page_size, page_token=request.page_token
        )
        keys = [registry.api_key(item) for item in page.items]
        return registry_pb2.ListApiKeysResponse(api_keys=keys, next_page_token=page.next_page_token)

    async def RevokeApiKey(
        self, request: registry_pb2.RevokeApiKeyRequest, call: Call
    ) -> registry_pb2.RevokeApiKeyResponse:
        """Revokes a key. Round trips: 2 primary."""
        key = await self._registry.revoke_api_key(call.caller, key_id=request.key_id)
        return registry_pb2.RevokeApiKeyResponse(api_key=registry.api_key(key))

    async def CreateSeller(
        self, request: registry_pb2.CreateSellerRequest, call: Call
    ) -> registry_pb2.CreateSellerResponse:
        """Registers a seller. Round trips: 1 primary."""
        seller = await self._registry.create_seller(
            call.caller, seller_id=request.seller_id, party=registry.party(request.party), profile=request.profile
        )
        return registry_pb2.CreateSellerResponse(seller=registry.seller(seller))

    async def GetSeller(self, request: registry_pb2.GetSellerRequest, call: Call) -> registry_pb2.GetSellerResponse:
        """Reads a seller. Round trips: 0 primary for one seen lately, else 1."""
        seller = await self._registry.get_seller(call.caller, seller_id=request.seller_id)
        return registry_pb2.GetSellerResponse(seller=registry.seller(seller))

    async def ListSellers(
        self, request: registry_pb2.ListSellersRequest, call: Call
    ) -> registry_pb2.ListSellersResponse:
        """Lists the tenant's sellers. Round trips: 1 primary."""
        page = await self._registry.list_sellers(
            call.caller, page_size=request.page_size, page_token=request.page_token
        )
        sellers = [registry.seller(item) for item in page.items]
        return registry_pb2.ListSellersResponse(sellers=sellers, next_page_token=page.next_page_token)

    async def AddNumberRange(
        self, request: registry_pb2.AddNumberRangeRequest, call: Call
    ) -> registry_pb2.AddNumberRangeResponse:
        """Adds a number range. Round trips: 4 primary."""
        added = await self._registry.add_number_range(
            call.caller,
            seller_id=request.seller_id,
            kind=request.kind,
            first_number=request.first_number,
            last_number=request.last_number,
            color=request.color,
        )
        return registry_pb2.AddNumberRangeResponse(number_range=registry.number_range(added, request.seller_id))

    async def ListNumberRanges(
        self, request: registry_pb2.ListNumberRangesRequest, call: Call
    ) -> registry_pb2.ListNumberRangesResponse:
        """Lists a seller's number ranges. Round trips: 1 primary."""
        page = await self._registry.list_number_ranges(
            call.caller, seller_id=request.seller_id, page_size=request.page_size, page_token=request.page_token
        )
        ranges = [registry.number_range(item, request.seller_id) for item in page.items]
        return registry_pb2.ListNumberRangesResponse(number_ranges=ranges, next_page_token=page.next_page_token)

    async def SetCreditQuota(
        self, request: registry_pb2.SetCreditQuotaRequest, call: Call
    ) -> registry_pb2.SetCreditQuotaResponse:
        """Sets a credit quota. Round trips: 8 primary."""
        quota_minor = request.quota_minor if request.HasField("quota_minor") else None
        quota = await self._quotas.set(call.caller, seller_id=request.seller_id, quota_minor=quota_minor)
        return registry_pb2.SetCreditQuotaResponse(credit_quota=registry.credit_quota(quota, request.seller_id))

    async def ClearCreditQuota(
        self, request: registry_pb2.ClearCreditQuotaRequest, call: Call
    ) -> registry_pb2.ClearCreditQuotaResponse:
        """Takes a credit quota away. Round trips: 8 primary."""
        quota = await self._quotas.clear(call.caller, seller_id=request.seller_id)
        return registry_pb2.ClearCreditQuotaResponse(credit_quota=registry.credit_quota(quota, request.seller_id))

    async def GetCreditQuota(
        self, request: registry_pb2.GetCreditQuotaRequest, call: Call
    ) -> registry_pb2.GetCreditQuotaResponse:
        """Reads a credit quota. Round trips: 1 primary."""
        quota = await self._quotas.get(call.caller, seller_id=request.seller_id)
        return registry_pb2.GetCreditQuotaResponse(credit_quota=registry.credit_quota(quota, request.seller_id))
