"""The public face of the package: what it exports, no more and no less."""

import inspect
import subprocess
import sys

import billow
import billow.reasons
from billow import AsyncClient, AsyncRegistry, Client, Registry

ERRORS = {
    "DeliveryNotFound", "DocumentNotRenderable", "EndpointNotFound", "EndpointsExhausted",
    "AlreadyEntered", "NotEntered", "TaxIdNotProven",
    "AlreadyExists", "ApiKeyInvalid", "ApiKeyMissing", "ApiKeyNotFound", "BatchTooLarge", "BillowError",
    "CreditQuotaExceeded",
    "DeadlineExceeded", "InternalError", "InvalidInvoice", "InvalidPageToken", "InvalidRequest", "InvoiceNotFound",
    "MalformedMessage", "MessageTooLarge", "NoNumberRange", "NotAllowed", "NotFound", "NumberRangeExhausted",
    "NumberRangeOverlaps", "NumbersUnavailable", "Overloaded", "QuotaExceeded", "RequestIdReused", "ScopeMissing",
    "SellerExists", "SellerNotFound", "ShuttingDown", "StorageUnavailable", "TenantExists", "TenantNotFound",
    "Unavailable", "RedExceedsRemainder", "AlreadyFullyRed", "ConfirmationRequired",
    "ConfirmationNotUsable", "ConfirmationNotFound", "NotRedLettered",
}  # fmt: skip
CLIENTS = {
    "AsyncRedLetter",
    "RedLetter",
    "AsyncDeliveries",
    "Deliveries",
    "AsyncDocuments",
    "AsyncInspection",
    "Inspection",
    "Documents",
    "AsyncEntries",
    "AsyncInbox",
    "Inbox",
    "AsyncTaxIds",
    "Entries",
    "TaxIds",
    "AsyncClient",
    "AsyncRegistry",
    "Client",
    "Registry",
    "BATCH_ITEMS_MAX",
}
SETTINGS = {"Keepalive", "RetryPolicy", "TLS", "Target", "Timeouts"}
MESSAGES = {
    "Confirmation", "IssuedRedInvoice", "IssueRedInvoiceRequest", "RedLine", "RedResult", "RedSelection",
    "GetReceivedInvoiceResponse", "ImportedInvoice", "ImportInvoiceResponse", "ReceivedInvoice",
    "Attempt", "ClaimedDelivery", "CreateEndpointResponse", "Delivery", "Endpoint", "GetDeliveryResponse",
    "InvoiceFacts", "RotateSecretResponse",
    "CreateDownloadLinkResponse", "GetDocumentResponse",
    "FieldDifference", "VerifyDocumentResponse",
    "EnterInvoiceRequest", "Entry", "EntryResult", "GetEntryResponse", "TaxId", "WithdrawEntryRequest",
    "CreditQuota",
    "ApiKey", "CreateApiKeyResponse", "GetInvoiceResponse", "Invoice", "InvoiceCheck", "InvoiceLine",
    "InvoiceSummary", "IssueInvoiceRequest", "IssueResult", "IssuedInvoice", "NumberRange", "Party", "Seller",
    "Tenant", "VerificationResult",
}  # fmt: skip
ENUMS = {
    "ConfirmationState",
    "RedExtent",
    "RedReason",
    "DeliveryState",
    "DocumentKind",
    "ImportOutcome",
    "InspectionOutcome",
    "SignatureResult",
    "UnreadableReason",
    "EndpointKind",
    "EndpointState",
    "EntryState",
    "InvoiceColor",
    "InvoiceKind",
    "InvoiceState",
    "LineType",
    "VerificationOutcome",
    "ZeroRateReason",
}
REST = {"Violation", "error_of", "error_of_status", "__version__"}


def test_the_exports_are_these() -> None:
    values = {name for enum in ENUMS for name in getattr(billow, enum).keys()}  # noqa: SIM118 - not a dict
    assert set(billow.__all__) == ERRORS | CLIENTS | SETTINGS | MESSAGES | ENUMS | REST | values
    assert len(billow.__all__) == len(set(billow.__all__))
    assert all(hasattr(billow, name) for name in billow.__all__)


def test_every_error_class_is_exported() -> None:
    classes = {billow.BillowError}
    while True:
        more = classes | {sub for cls in classes for sub in cls.__subclasses__()}
        if more == classes:
            break
        classes = more
    assert {cls.__name__ for cls in classes} == ERRORS


def test_the_sync_client_offers_what_the_async_one_does_with_the_same_arguments() -> None:
    pairs: list[tuple[type, type]] = [(AsyncClient, Client), (AsyncRegistry, Registry)]
    pairs += [(billow.AsyncDocuments, billow.Documents), (billow.AsyncDeliveries, billow.Deliveries)]
    pairs += [(billow.AsyncEntries, billow.Entries), (billow.AsyncTaxIds, billow.TaxIds)]
    pairs += [(billow.AsyncInbox, billow.Inbox), (billow.AsyncRedLetter, billow.RedLetter)]
    pairs += [(billow.AsyncInspection, billow.Inspection)]
    for core, mirror in pairs:
        names = {name for name in vars(core) if not name.startswith("_")}
        assert names == {name for name in vars(mirror) if not name.startswith("_")}
        for name in names:
            ours, theirs = getattr(mirror, name), getattr(core, name)
            if callable(theirs):
                assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters), name
            assert inspect.getdoc(ours), name
            assert inspect.getdoc(theirs), name


def test_importing_the_package_starts_nothing_and_leaves_the_command_out() -> None:
    code = (
        "import sys, threading, billow; print(threading.active_count(), "
        "sorted({'click', 'rich', 'pyarrow', 'orjson'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split(maxsplit=1) == ["1", "[]\n"]
