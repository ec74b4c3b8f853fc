"""The methods of RedLetterService about confirmation forms."""

from __future__ import annotations

import hashlib

from billow.redletter.v1 import redletter_pb2
from core.limits import REQUEST_ID_CHARS_MAX
from server.convert import red_letter
from server.convert.issuance import request_id_fault
from server.interceptors import Call
from server.services.red_forms import NewForm, RedFormService, WantedForms
from server.services.red_letter import RedLetterService
from server.services.registry_rules import refuse


class RedFormHandlers:
    """Mixed into RedLetterHandlers."""

    def __init__(self, *, forms: RedFormService, reds: RedLetterService) -> None:
        self._forms = forms
        self._reds = reds

    async def CreateConfirmation(  # noqa: N802 (the contract's name)
        self, request: redletter_pb2.CreateConfirmationRequest, call: Call
    ) -> redletter_pb2.CreateConfirmationResponse:
        """Makes a form. Round trips: 4 primary, 2 replica."""
        fault = request_id_fault(request.request_id)
        refuse([fault] if fault else [])
        refuse(red_letter.selection_faults(request.selection))
        selection = red_letter.selection_bytes(request.selection)
        request_sha256 = hashlib.sha256(selection + bytes([request.as_buyer])).digest()
        known = await self._forms.made(call.caller, request.request_id, request_sha256)
        if known is not None:
            return redletter_pb2.CreateConfirmationResponse(confirmation=red_letter.confirmation(known))
        number = request.selection.blue_number
        blue = await self._forms.blue(call.caller, number, as_buyer=request.as_buyer)
        maker = red_letter.RedMaker(blue, request.selection)
        refuse(maker.faults())
        parts = maker.parts(await self._reds.taken(number))
        form = await self._forms.create(
            call.caller,
            blue,
            NewForm(
                request_id=request.request_id,
                request_sha256=request_sha256,
                selection=selection,
                as_buyer=request.as_buyer,
                gross_total_minor=-sum(part.net + part.tax for part in parts),
            ),
        )
        return redletter_pb2.CreateConfirmationResponse(confirmation=red_letter.confirmation(form))

    async def ConfirmConfirmation(  # noqa: N802 (the contract's name)
        self, request: redletter_pb2.ConfirmConfirmationRequest, call: Call
    ) -> redletter_pb2.ConfirmConfirmationResponse:
        """Confirms a form. Round trips: 5 primary."""
        form = await self._forms.confirm(call.caller, request.confirmation_id[:REQUEST_ID_CHARS_MAX])
        return redletter_pb2.ConfirmConfirmationResponse(confirmation=red_letter.confirmation(form))

    async def RefuseConfirmation(  # noqa: N802 (the contract's name)
        self, request: redletter_pb2.RefuseConfirmationRequest, call: Call
    ) -> redletter_pb2.RefuseConfirmationResponse:
        """Refuses a form. Round trips: 5 primary."""
        form = await self._forms.refuse(call.caller, request.confirmation_id[:REQUEST_ID_CHARS_MAX])
        return redletter_pb2.RefuseConfirmationResponse(confirmation=red_letter.confirmation(form))

    async def WithdrawConfirmation(  # noqa: N802 (the contract's name)
        self, request: redletter_pb2.WithdrawConfirmationRequest, call: Call
    ) -> redletter_pb2.WithdrawConfirmationResponse:
        """Withdraws a form. Round trips: 5 primary."""
        form = await self._forms.withdraw(call.caller, request.confirmation_id[:REQUEST_ID_CHARS_MAX])
        return redletter_pb2.WithdrawConfirmationResponse(confirmation=red_letter.confirmation(form))

    async def GetConfirmation(  # noqa: N802 (the contract's name)
        self, request: redletter_pb2.GetConfirmationRequest, call: Call
    ) -> redletter_pb2.GetConfirmationResponse:
        """Reads a form. Round trips: 2 primary."""
        form = await self._forms.get(call.caller, request.confirmation_id[:REQUEST_ID_CHARS_MAX])
        return redletter_pb2.GetConfirmationResponse(confirmation=red_letter.confirmation(form))

    async def ListConfirmations(  # noqa: N802 (the contract's name)
        self, request: redletter_pb2.ListConfirmationsRequest, call: Call
    ) -> redletter_pb2.ListConfirmationsResponse:
        """Lists forms. Round trips: 1 primary."""
        page = await self._forms.list(
            call.caller,
            WantedForms(
                seller_id=request.seller_id,
                buyer_tax_id=request.buyer_tax_id,
                state=request.state,
                page_size=request.page_size,
                page_token=request.page_token,
            ),
        )
        return redletter_pb2.ListConfirmationsResponse(
            confirmations=[red_letter.confirmation(form) for form in page.items], next_page_token=page.next_page_token
        )
