"""Tenants, API keys, sellers and number ranges."""

from collections.abc import AsyncIterator, Sequence

from grpc import aio

from ._call import Caller, Safety
from .registry.v1 import registry_pb2, registry_pb2_grpc
from .types.v1 import invoice_pb2

_PAGE_ITEMS = 500


class AsyncRegistry:
    """The registry as seen with the client's API key. One round trip a method, or a page.

    Creating is not repeated after an error that leaves open whether it was done: look before you create again.
    """

    def __init__(self, *, channel: aio.Channel, caller: Caller, timeout_s: float) -> None:
        self._stub = registry_pb2_grpc.RegistryServiceStub(channel)
        self._caller = caller
        self._timeout_s = timeout_s

    async def create_tenant(self, tenant_id: str, *, display_name: str = "") -> registry_pb2.Tenant:
        """Creates a tenant. Scope "platform". Raises TenantExists."""
        request = registry_pb2.CreateTenantRequest(tenant_id=tenant_id, display_name=display_name)
        response = await self._caller.unary(
            self._stub.CreateTenant, request, timeout_s=self._timeout_s, safety=Safety.ONCE
        )
        return response.tenant

    def list_tenants(self) -> AsyncIterator[registry_pb2.Tenant]:
        """Yields all tenants by id. Scope "platform"."""
        request = registry_pb2.ListTenantsRequest(page_size=_PAGE_ITEMS)
        return self._caller.pages(self._stub.ListTenants, request, lambda page: page.tenants, timeout_s=self._timeout_s)

    async def create_api_key(
        self, scopes: Sequence[str], *, tenant_id: str = "", display_name: str = ""
    ) -> registry_pb2.CreateApiKeyResponse:
        """Creates an API key with ``scopes`` of issue, read, verify, registry, platform.

        ``tenant_id``: another than the caller's needs the scope "platform". The secret is in the answer and nowhere
        else, ever.
        """
        request = registry_pb2.CreateApiKeyRequest(tenant_id=tenant_id, scopes=scopes, display_name=display_name)
        return await self._caller.unary(self._stub.CreateApiKey, request, timeout_s=self._timeout_s, safety=Safety.ONCE)

    def list_api_keys(self) -> AsyncIterator[registry_pb2.ApiKey]:
        """Yields the API keys of the tenant by id, without their secrets."""
        request = registry_pb2.ListApiKeysRequest(page_size=_PAGE_ITEMS)
        return self._caller.pages(
            self._stub.ListApiKeys, request, lambda page: page.api_keys, timeout_s=self._timeout_s
        )

    async def revoke_api_key(self, key_id: str) -> registry_pb2.ApiKey:
        """Revokes an API key of the tenant; in effect within a second. Again changes nothing. Raises ApiKeyNotFound."""
        request = registry_pb2.RevokeApiKeyRequest(key_id=key_id)
        response = await self._caller.unary(self._stub.RevokeApiKey, request, timeout_s=self._timeout_s)
        return response.api_key

    async def create_seller(
        self, seller_id: str, party: invoice_pb2.Party, *, profile: str = ""
    ) -> registry_pb2.Seller:
        """Registers a seller; name and tax_id of ``party`` are required. Raises SellerExists, InvalidRequest."""
        request = registry_pb2.CreateSellerRequest(seller_id=seller_id, party=party, profile=profile)
        response = await self._caller.unary(
            self._stub.CreateSeller, request, timeout_s=self._timeout_s, safety=Safety.ONCE
        )
        return response.seller

    async def get_seller(self, seller_id: str) -> registry_pb2.Seller:
        """Reads a seller of the tenant. Raises SellerNotFound."""
        request = registry_pb2.GetSellerRequest(seller_id=seller_id)
        return (await self._caller.unary(self._stub.GetSeller, request, timeout_s=self._timeout_s)).seller

    def list_sellers(self) -> AsyncIterator[registry_pb2.Seller]:
        """Yields the sellers of the tenant by id."""
        request = registry_pb2.ListSellersRequest(page_size=_PAGE_ITEMS)
        return self._caller.pages(self._stub.ListSellers, request, lambda page: page.sellers, timeout_s=self._timeout_s)

    async def add_number_range(
        self,
        seller_id: str,
        *,
        kind: invoice_pb2.InvoiceKind.ValueType,
        first_number: str,
        last_number: str,
        color: invoice_pb2.InvoiceColor.ValueType = invoice_pb2.INVOICE_COLOR_BLUE,
    ) -> registry_pb2.NumberRange:
        """Adds the numbers from ``first_number`` to ``last_number`` (20 digits, the same first 5), both included.

        Ranges are used in the order they were added. Raises NumberRangeOverlaps, SellerNotFound, InvalidRequest.
        """
        request = registry_pb2.AddNumberRangeRequest(
            seller_id=seller_id, kind=kind, first_number=first_number, last_number=last_number, color=color
        )
        response = await self._caller.unary(
            self._stub.AddNumberRange, request, timeout_s=self._timeout_s, safety=Safety.ONCE
        )
        return response.number_range

    def list_number_ranges(self, seller_id: str) -> AsyncIterator[registry_pb2.NumberRange]:
        """Yields the number ranges of a seller in the order of their use. Raises SellerNotFound."""
        request = registry_pb2.ListNumberRangesRequest(seller_id=seller_id, page_size=_PAGE_ITEMS)
        return self._caller.pages(
            self._stub.ListNumberRanges, request, lambda page: page.number_ranges, timeout_s=self._timeout_s
        )

    async def set_credit_quota(self, seller_id: str, quota_minor: int) -> registry_pb2.CreditQuota:
        """Lets a seller issue at most ``quota_minor`` a calendar month, without tax; in force at once.

        Beyond it issuing raises CreditQuotaExceeded. What was issued this month counts. Again changes nothing. Raises
        SellerNotFound, InvalidRequest.
        """
        request = registry_pb2.SetCreditQuotaRequest(seller_id=seller_id, quota_minor=quota_minor)
        response = await self._caller.unary(self._stub.SetCreditQuota, request, timeout_s=self._timeout_s)
        return response.credit_quota

    async def clear_credit_quota(self, seller_id: str) -> registry_pb2.CreditQuota:
        """Lets a seller issue any amount. Again changes nothing. Raises SellerNotFound."""
        request = registry_pb2.ClearCreditQuotaRequest(seller_id=seller_id)
        response = await self._caller.unary(self._stub.ClearCreditQuota, request, timeout_s=self._timeout_s)
        return response.credit_quota

    async def get_credit_quota(self, seller_id: str) -> registry_pb2.CreditQuota:
        """Reads a seller's credit quota and what is used of it this month; ``quota_minor`` is unset without one."""
        request = registry_pb2.GetCreditQuotaRequest(seller_id=seller_id)
        response = await self._caller.unary(self._stub.GetCreditQuota, request, timeout_s=self._timeout_s)
        return response.credit_quota
